"""Tables of ablations: shipped ones, faults in others, settings of a row."""

import pytest

from changedet.ablation.table import (
    CostClaim,
    DifferenceClaim,
    HeatMapClaim,
    dump_table,
    list_tables,
    load_table,
    parse_table,
    row_config,
)
from changedet.errors import ConfigError
from changedet.training.config import tile_px

TEXT = """
title: Two
base: default
rows:
  - {name: one, title: One}
  - {name: two, title: Two, set: {model.distance: l2, optimizer.lr: 1.0e-5}}
claims:
  - {text: better, kind: difference, row: two, against: one, difference: 0.01}
"""


def test_the_table_of_dasnet_v2_holds_its_rows_and_claims_with_settings_that_exist():
    table = load_table("dasnet_v2")
    configs = {row.name: row_config(table, row) for row in table.rows}
    assert len(configs) == 11
    assert configs["v2_fused_only"].loss.branch_weights.position == 0.0
    assert configs["v2_relu"].model.activation == "relu"
    assert configs["v2_l2"].model.activation == "leaky_relu"
    assert configs["v2_l2_short"].training.epochs == 45
    claimed = {
        (claim.row, claim.against): claim.difference
        for claim in table.claims
        if isinstance(claim, DifferenceClaim)
    }
    assert claimed == {
        ("v2_l2", "dasnet"): 0.027,
        ("v2_cosine", "v2_l2"): 0.004,
        ("v2_fused_only", "v2_l2"): -0.002,
        ("v2_no_attention", "v2_l2"): -0.002,
        ("v2_l2_short", "v2_l2"): -0.002,
        # The document's last sentence: 0.9543 against 0.9299.
        ("v2_no_attention", "dasnet"): 0.0244,
    }
    cleaner = {
        (claim.row, claim.against, claim.quantity)
        for claim in table.claims
        if isinstance(claim, HeatMapClaim)
    }
    assert cleaner == {
        ("v2_cosine", "v2_l2", "false_positive_objects"),
        ("v2_cosine", "v2_l2", "contrast"),
    }
    lower = {
        (claim.row, claim.against, claim.quantity)
        for claim in table.claims
        if isinstance(claim, CostClaim)
    }
    assert lower == {
        ("v2_no_attention", against, quantity)
        for against in ("v2_l2", "dasnet")
        for quantity in ("average_memory", "gflop")
    } | {("v2_no_attention", "v2_l2", "peak_memory")}
    kinds = [claim.kind for claim in table.claims]
    assert [kinds.count(k) for k in ("loss_spread", "rank_correlation")] == [1, 1]


def test_the_table_of_dasnet_v2_knows_the_document_s_figures():
    table = load_table("dasnet_v2")
    assert {row.name: row.published for row in table.rows if row.published is not None} == {
        "dasnet": 0.9299,
        "v2_l2": 0.9566,
        "v2_cosine": 0.9601,
        "v2_fused_only": 0.9546,
        "v2_no_attention": 0.9543,
    }


@pytest.mark.parametrize("name", list_tables())
def test_every_row_of_every_shipped_table_has_valid_settings(name):
    table = load_table(name)
    for row in table.rows:
        row_config(table, row)


def test_the_table_of_networks_compares_them_with_the_same_encoder_crops_and_schedule():
    table = load_table("networks")
    configs = [row_config(table, row) for row in table.rows]
    assert {config.model.name for config in configs} == {
        *("siamese_pyramid", "tinycd", "bit", "siamese_segmentation")
    }
    borrowed = {c.model.options()["decoder"] for c in configs if c.model.name.endswith("tion")}
    assert borrowed == {"unet", "unetplusplus", "deeplabv3plus", "upernet", "segformer"}
    first = configs[0]
    for config in configs:
        assert config.model.encoder == first.model.encoder
        assert config.augmentation == first.augmentation
        assert config.optimizer == first.optimizer
        assert config.schedule == first.schedule
        assert config.training == first.training
        assert config.data.model_copy(update={"tile_px": 512}) == first.data
        fixed = config.model.traits().fixed_tile
        assert tile_px(config) == (config.data.crop_px if fixed else 512)


def test_a_rows_own_changes_win_over_those_for_all_rows_and_the_budget_over_both():
    table = parse_table(TEXT, origin="t")
    config = row_config(
        table,
        table.row("two"),
        overrides=["model.distance=cosine", "data.workers=0", "training.epochs=7"],
        last=["training.epochs=3"],
    )
    assert config.model.distance == "l2"
    assert config.data.workers == 0
    assert config.training.epochs == 3
    assert config.optimizer.lr == 1e-5


def test_a_dumped_table_reads_back_the_same():
    table = load_table("dasnet_v2")
    assert parse_table(dump_table(table), origin="dump") == table


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: One", "titel: One", "rows[0]: unknown key 'titel'; did you mean 'title'"),
        ("set:", "sett:", "did you mean 'set'"),
        ("against: one", "againts: one", "claims[0]: unknown key 'againts'; did you mean 'agai"),
        ("base:", "bse:", ": unknown key 'bse'; did you mean 'base'"),
        ("against: one", "against: onne", "a row 'onne' that does not exist; did you mean 'one'"),
        ("kind: difference", "kind: diference", "claims[0]"),
        ("difference: 0.01", "difference: 0.0", "the claimed difference must be non-zero"),
        ("name: two", "name: one", "the row name 'one' occurs twice"),
        ("name: two", "name: ../two", "rows[1].name"),
        ("title: Two\nbase", "base", "title: is missing"),
        ("rows:", "rows: [", "not valid YAML"),
        ("title: One", "title: One, title: 1", "the key 'title' occurs twice; remove one"),
        (TEXT, "[]", "must contain 'title"),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_the_nearest(old, new, message):
    assert old in TEXT
    with pytest.raises(ConfigError) as error:
        parse_table(TEXT.replace(old, new, 1), origin="t.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("t.yaml")


def test_an_unknown_setting_is_a_fault_of_its_row_alone():
    table = parse_table(TEXT.replace("model.distance", "model.distanse"), origin="t")
    row_config(table, table.row("one"))
    with pytest.raises(ConfigError, match="did you mean 'distance'"):
        row_config(table, table.row("two"))


def test_a_row_without_any_recipe_is_refused():
    table = parse_table(TEXT.replace("base: default", ""), origin="t")
    with pytest.raises(ConfigError, match="the row has no recipe"):
        row_config(table, table.row("one"))


def test_an_unknown_table_or_row_comes_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'pyramid'"):
        load_table("piramid")
    with pytest.raises(ConfigError, match="did you mean 'v2_cosine'"):
        load_table("dasnet_v2").row("v2_cosin")


def test_recipes_of_a_file_are_looked_for_beside_it_first(tmp_path):
    (tmp_path / "own.yaml").write_text("extends: default\nmodel: {dropout: 0.3}\n")
    (tmp_path / "table.yaml").write_text(TEXT.replace("base: default", "base: own.yaml"))
    table = load_table(str(tmp_path / "table.yaml"))
    assert row_config(table, table.row("one")).model.dropout == 0.3


def test_a_table_that_cannot_be_read_is_an_error_of_one_line(tmp_path):
    path = tmp_path / "table.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"cannot read .*table\.yaml as UTF-8 text"):
        load_table(str(path))


def test_former_names_of_a_table_and_of_a_quantity_are_understood(tmp_path):
    assert load_table("seed") == load_table("dasnet_v2")
    former = tmp_path / "former.yaml"
    former.write_text(
        "{title: t, base: default, rows: [{name: a, title: A}, {name: b, title: B}], claims: "
        "[{text: t, kind: heat_maps, row: a, against: b, quantity: blotches}]}"
    )
    assert load_table(str(former)).claims[0].quantity == "false_positive_objects"
