from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from changedet.card import ModelCard, read_card, read_parameter_count, read_precision
from changedet.data.index import index_pairs
from changedet.data.seen import splits_trained_on
from changedet.domain import Appearance, Domain, ValueRange
from changedet.errors import ConfigError
from changedet.evaluation.calibrate import CalibrationRequest, calibrate_model
from changedet.evaluation.ensemble import build_ensemble
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.inference.detector import load
from changedet.kinds import KindOfChange
from changedet.models.model_file import load_model, save_model
from changedet.models.registry import create_model
from changedet.selection import Selection
from changedet.types import Normalisation, Precision
from stand_ins import untrained_network

pytestmark = pytest.mark.usefixtures("blank_charts")
CHOSEN = Selection("training", data="town", split="val", images=9, epoch=3, batch=1)
LATER = replace(CHOSEN, epoch=7)
CARD = ModelCard(
    "dasnet",
    {},
    Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3),
    tile_px=32,
    threshold=0.3,
    test_time="mirror",
    data_name="town",
    licence_note="as the data",
    recipe={"name": "own", "data": {"train_split": "train", "val_split": "val"}},
)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file whose card differs from CARD in what is given."""

    def write(
        name: str,
        *,
        seed: int | None = None,
        precision: Precision = "float32",
        attention: str = "none",
        **changes,
    ) -> Path:
        # Another network for every name.
        seed = sum(name.encode()) if seed is None else seed
        network = untrained_network(seed=seed, attention=attention)
        card = replace(CARD, options=network.options, **changes)
        path = tmp_path / f"{name}.safetensors"
        save_model(path, network, card, precision=precision)
        return path

    return write


def make_pair() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    before, after = generator.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    return before, after


def test_the_file_scores_by_the_mean_of_its_members(make, tmp_path):
    first, second = make("first"), make("second")
    out = tmp_path / "both.safetensors"
    report = build_ensemble([first, second], out)
    assert not report.members_differ_in_views
    scores = [load(path, device="cpu").predict(*make_pair()).score for path in (first, second)]
    assert np.abs(scores[0] - scores[1]).max() > 0.01
    together = load(out, device="cpu").predict(*make_pair()).score
    np.testing.assert_allclose(together, np.mean(scores, axis=0), atol=1e-6)
    assert report.parameters == read_parameter_count(out) == 2 * read_parameter_count(first)
    assert report.size_bytes == out.stat().st_size


def test_the_card_says_what_holds_for_all_members_and_whose_it_is(make, tmp_path):
    first = make("first", weights_selection=(CHOSEN,), metrics={"val": {"f1": 0.5}})
    second = make("second", weights_selection=(LATER,), tile_px=64, licence_note="as the town")
    card = build_ensemble([first, second], tmp_path / "both.safetensors").card
    assert card == read_card(tmp_path / "both.safetensors")
    assert card.threshold is None
    assert card.threshold_selection is None
    assert card.threshold_source is None
    assert card.test_time == "mirror"
    assert card.tile_px == 64
    assert card.licence_note == "as the data; as the town"
    assert card.metrics == {"members": [{"val": {"f1": 0.5}}, {}]}
    assert card.recipe["data"] == {"train_split": "train", "val_split": "val"}
    assert [recipe["name"] for recipe in card.recipe["members"]] == ["own", "own"]
    assert "epoch 3" in card.selection_source
    assert "epoch 7" in card.selection_source
    assert card.weights_selection == (CHOSEN, LATER)


def test_views_that_differ_are_left_to_the_calibration(make, tmp_path):
    models = [make("first"), make("second", test_time="scales")]
    report = build_ensemble(models, tmp_path / "both.safetensors")
    assert report.card.test_time == "none"
    assert report.members_differ_in_views


@pytest.mark.parametrize(
    ("precisions", "expected"),
    [(("float16", "float16"), "float16"), (("float16", "float32"), "float32")],
)
def test_rounded_weights_stay_as_they_are(make, tmp_path, precisions, expected):
    models = [make(name, precision=name) for name in set(precisions)]
    if len(models) == 1:
        models.append(make("other", precision=precisions[1]))
    out = tmp_path / "both.safetensors"
    assert build_ensemble(models, out).precision == read_precision(out) == expected
    ensemble = load_model(out)[0]
    for number, path in enumerate(models):
        for name, value in load_model(path)[0].state_dict().items():
            assert torch.equal(ensemble.state_dict()[f"members.{number}.{name}"], value), name


SCENE = {
    "name": "town",
    "before": "before.tif",
    "crs": "WGS 84",
    "transform": [1.0, 0.0, 0.0, 0.0, -1.0, 0.0],
    "training": [[0, 0, 8, 8]],
    "validation": [[0, 8, 8, 8]],
}
BLOCKS = {"gap_px": 0, "scenes": [SCENE]}


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        ({}, {"data_name": "village"}, r"data set: \S+first\S+ has town, \S+second\S+ village"),
        ({}, {"data_name": None}, "data set: .* town, .* none stated"),
        ({}, {"pixel_type": "uint16"}, "type of pixel values"),
        (
            {},
            {"normalisation": replace(CARD.normalisation, mean_after=(1.0, 2.0, 3.0))},
            "mean_std",
        ),
        ({}, {"source_bands": (3, 2, 1)}, "share their bands"),
        (
            {},
            {"recipe": {"data": {"train_split": "all", "val_split": "val"}}},
            r"data\.train_split",
        ),
        ({}, {"recipe": {"data": {"train_split": "train", "val_split": "v"}}}, r"data\.val_split"),
        ({"label": {"changed": [1]}}, {"label": {"changed": [0]}}, "meaning of label values"),
        ({}, {"blocks": BLOCKS}, "only one of them was trained on scenes"),
        (
            {"blocks": BLOCKS},
            {"blocks": {"gap_px": 0, "scenes": [{**SCENE, "training": [[0, 0, 4, 4]]}]}},
            "same blocks of scenes.*1 training blocks then, 1 now, 0 of them the same",
        ),
        (
            {"attention": "channel"},
            {"attention": "channel", "tile_px": 64},
            "both use attention .* 32, .* 64",
        ),
    ],
)
def test_models_that_do_not_fit_together_are_refused(make, tmp_path, own, other, words):
    with pytest.raises(ConfigError, match=words):
        build_ensemble([make("first", **own), make("second", **other)], tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("order", [1, -1])
def test_a_network_of_more_splits_may_stand_beside_one_of_fewer(make, tmp_path, order):
    wider = {"recipe": {"data": {"train_split": "train+val", "val_split": "val"}}}
    both = [make("first"), make("second", **wider)][::order]
    card = build_ensemble(both, tmp_path / "both.safetensors").card
    # Whoever evaluates it must learn that the validation split was trained on.
    assert card.recipe["data"]["train_split"] == "train+val"


def test_data_sets_whose_names_differ_in_capitals_are_the_same(make, tmp_path):
    models = [make("first"), make("second", data_name="TOWN")]
    assert build_ensemble(models, tmp_path / "both.safetensors").card.data_name == "town"


def test_members_without_attention_follow_the_tile_of_those_with_it(make, tmp_path):
    models = [make("first", tile_px=64), make("second", attention="channel")]
    assert build_ensemble(models, tmp_path / "both.safetensors").card.tile_px == 32


def test_blocks_that_chose_one_member_chose_the_ensemble(make, tmp_path):
    more = {**SCENE, "validation": [[0, 8, 8, 8], [8, 8, 8, 8]]}
    models = [
        make("first", blocks=BLOCKS),
        make("second", blocks={"gap_px": 0, "scenes": [more]}),
    ]
    card = build_ensemble(models, tmp_path / "both.safetensors").card
    assert card.blocks == {"gap_px": 0, "scenes": [more]}


def test_one_member_that_says_what_its_labels_meant_says_it_for_all(make, tmp_path):
    models = [make("first"), make("second", label={"changed": [1]})]
    assert build_ensemble(models, tmp_path / "both.safetensors").card.label == {"changed": [1]}


def test_the_same_network_in_two_files_is_refused(make, tmp_path):
    path = make("first")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(path.read_bytes())
    for other in (path, copy):
        with pytest.raises(ConfigError, match="are the same network"):
            build_ensemble([path, make("second"), other], tmp_path / "both.safetensors")


def test_a_member_is_never_overwritten(make, tmp_path):
    models = [make("first"), make("second")]
    (tmp_path / "folder").mkdir()
    out = tmp_path / "folder" / ".." / "second.safetensors"
    before = models[1].read_bytes()
    with pytest.raises(ConfigError, match="is one of the models and would be overwritten"):
        build_ensemble(models, out, existing="replace")
    assert models[1].read_bytes() == before


def test_an_existing_file_is_replaced_only_on_demand(make, tmp_path):
    models = [make("first"), make("second")]
    out = make("mine")
    before = out.read_bytes()
    with pytest.raises(ConfigError, match='`existing="replace"`'):
        build_ensemble(models, out)
    assert out.read_bytes() == before
    build_ensemble(models, out, existing="replace")
    assert read_card(out).architecture == "ensemble"


def test_an_ensemble_is_calibrated_and_judged_like_its_members(make, tmp_path, pairs_folder):
    name = index_pairs(pairs_folder).name
    models = [
        make(word, data_name=name, weights_selection=(replace(CHOSEN, data=name),))
        for word in ("first", "second")
    ]
    out = tmp_path / "both.safetensors"
    build_ensemble(models, out)
    request = CalibrationRequest(
        model=out, out=out, data=pairs_folder, device="cpu", existing="replace"
    )
    with pytest.raises(ConfigError, match="was trained on split 'train'"):
        calibrate_model(replace(request, split="train"))
    report = calibrate_model(replace(request, split="test"))
    card = read_card(out)
    assert report.before.threshold is None
    assert card.threshold == report.after.threshold
    assert card.architecture == "ensemble"
    assert card.metrics["members"] == [{}, {}]
    notes = {}
    for split in ("train", "val", "test"):
        judged = evaluate_model(
            EvaluationRequest(
                model=str(out), data=pairs_folder, split=split, out=tmp_path / split, device="cpu"
            )
        )
        notes[split] = judged.to_dict()["fixed_threshold"]["note"]
    assert notes == {
        "train": "training set, optimistic",
        "val": "selection set, optimistic",
        "test": "selection set, optimistic",
    }


def test_the_mean_of_weights_is_one_network_that_scores_in_between(make, tmp_path):
    first, second = make("first", metrics={"val": {"f1": 0.5}}), make("second")
    out = tmp_path / "soup.safetensors"
    report = build_ensemble([first, second], out, average="weights")
    assert report.parameters == read_parameter_count(out) == read_parameter_count(first)
    mean, card = load_model(out)
    states = [load_model(path)[0].state_dict() for path in (first, second)]
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            expected = (states[0][name].double() + states[1][name].double()) / 2
            torch.testing.assert_close(value, expected.float())
    assert card.architecture == "dasnet"
    assert card.threshold is None
    assert card.metrics == {"members": [{"val": {"f1": 0.5}}, {}]}
    assert load(out, device="cpu").predict(*make_pair()).score.shape == (64, 64)


def test_weights_of_unlike_networks_are_not_averaged(make, tmp_path):
    first, second = make("first"), make("second", attention="dual")
    with pytest.raises(ConfigError, match=r"dasnet \(attention .*`average=\"scores\"`"):
        build_ensemble([first, second], tmp_path / "out.safetensors", average="weights")
    with pytest.raises(ConfigError, match=r"average must be .*'both'"):
        build_ensemble([first, second], tmp_path / "out.safetensors", average="both")


def test_kinds_of_change_are_kept_without_the_thresholds_of_the_members(tmp_path):
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = create_model(
            "siamese_pyramid",
            encoder="test_efficientnet",
            decoder_width=8,
            kinds=("any", "building"),
        )
        kinds = tuple(KindOfChange(name, threshold=0.1 * (seed + 1)) for name in network.kinds)
        card = replace(
            CARD,
            architecture="siamese_pyramid",
            options=network.options,
            kinds=kinds,
            working_gsd_m=(0.5, 2.0),
        )
        paths.append(tmp_path / f"{seed}.safetensors")
        save_model(paths[-1], network, card)
    for average in ("scores", "weights"):
        out = tmp_path / f"{average}.safetensors"
        card = build_ensemble(paths, out, average=average).card
        assert card == read_card(out)
        assert [(kind.name, kind.threshold) for kind in card.kinds] == [
            ("any", None),
            ("building", None),
        ]
        assert card.working_gsd_m == (0.5, 2.0)
    card = read_card(paths[1])
    network = load_model(paths[1])[0]
    save_model(paths[1], network, replace(card, working_gsd_m=(1.0, 2.0)))
    with pytest.raises(ConfigError, match="working ground sample distances"):
        build_ensemble(paths, tmp_path / "out.safetensors")


@pytest.fixture
def make_kinds(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file of a network that classifies; its kinds have thresholds 0.1, 0.2 ..."""

    def write(name: str, *kinds: str, precision: Precision = "float32", **changes) -> Path:
        torch.manual_seed(sum(name.encode()))
        network = create_model(
            "siamese_pyramid",
            encoder="test_efficientnet",
            decoder_width=8,
            **({"kinds": kinds} if kinds else {}),
        )
        known = tuple(
            KindOfChange(kind, 0.1 * number, CHOSEN, 1.0 + number)
            for number, kind in enumerate(kinds, 1)
        )
        first = known[0] if known else KindOfChange("any", 0.3)
        card = replace(
            CARD,
            architecture="siamese_pyramid",
            options=network.options,
            kinds=known,
            threshold=first.threshold,
            threshold_selection=first.threshold_selection,
            **changes,
        )
        path = tmp_path / f"{name}.safetensors"
        save_model(path, network, card, precision=precision)
        return path

    return write


def fields() -> dict[str, object]:
    """What differs for a model of another data set."""
    return {
        "data_name": "fields",
        "label": {"changed": [1]},
        "recipe": {"name": "own", "data": {"train_split": "all", "val_split": "held"}},
        "metrics": {"calibration": {"f1": 0.7}, "validation": {"max_f1": 0.6}},
    }


def test_a_kind_that_one_model_knows_keeps_what_was_chosen_for_it(make_kinds, tmp_path):
    out = tmp_path / "all.safetensors"
    models = [
        make_kinds("a", "any", "building", label={"changed": [255]}),
        make_kinds("b", "cropland", **fields()),
    ]
    report = build_ensemble(models, out)
    card = report.card
    assert card == read_card(out)
    assert [(kind.name, kind.threshold, kind.temperature) for kind in card.kinds] == [
        ("any", 0.1, 2.0),
        ("building", 0.2, 3.0),
        ("cropland", 0.1, 2.0),
    ]
    assert (card.threshold, card.threshold_selection) == (0.1, CHOSEN)
    assert report.uncalibrated == ()
    assert card.data_name == "town; fields"
    assert card.label is None
    assert card.metrics["calibration_cropland"] == {"f1": 0.7}
    # What was trained on is still known by the name of each data set.
    assert splits_trained_on(card, "town") == ("train",)
    assert splits_trained_on(card, "Fields") == ("all",)
    assert splits_trained_on(card, "village") == ()
    alone = load(models[1], device="cpu").predict(*make_pair())
    together = load(out, device="cpu", kind="cropland").predict(*make_pair())
    assert np.array_equal(together.score, alone.score)
    # One more model that finds cropland: only its threshold is gone.
    third = make_kinds("c", "cropland", **fields())
    again = build_ensemble([out, third], tmp_path / "more.safetensors")
    assert again.taken_apart == (out,)
    assert again.members == 3
    assert [kind.threshold for kind in again.card.kinds] == [0.1, 0.2, None]
    assert again.card.kinds[2].temperature is None
    assert [tuple(one) for one in again.uncalibrated] == [("cropland", "held")]
    assert "calibration_cropland" not in again.card.metrics
    assert splits_trained_on(again.card, "fields") == ("all",)


def test_thresholds_of_other_views_or_of_other_weights_are_not_kept(make_kinds, tmp_path):
    models = [make_kinds("a", "any", test_time="scales"), make_kinds("b", "cropland")]

    def thresholds(**choices: Any) -> list[float | None]:
        report = build_ensemble(models, tmp_path / "o.safetensors", existing="replace", **choices)
        return [kind.threshold for kind in report.card.kinds]

    assert thresholds() == [None, None]
    assert thresholds(test_time="scales") == [0.1, None]
    assert thresholds(test_time="mirror") == [None, 0.1]
    assert thresholds(test_time="scales", precision="int8") == [None, None]


def test_calibration_sets_the_threshold_of_one_kind(make_kinds, tmp_path, pairs_folder):
    name = index_pairs(pairs_folder).name
    changes = {**fields(), "data_name": name}
    changes["recipe"] = {"data": {"train_split": "train", "val_split": "val"}}
    models = [make_kinds("a", "any"), *(make_kinds(one, "cropland", **changes) for one in "bc")]
    out = tmp_path / "all.safetensors"
    build_ensemble(models, out)
    request = CalibrationRequest(
        model=out,
        out=tmp_path / "calibrated.safetensors",
        data=pairs_folder,
        split="val",
        kind="cropland",
        device="cpu",
    )
    with pytest.raises(ConfigError, match="was trained on split 'train'"):
        calibrate_model(replace(request, split="train"))
    report = calibrate_model(request)
    first, second = read_card(request.out).kinds
    assert first == read_card(models[0]).kinds[0]
    assert second.threshold == report.after.threshold
    assert second.threshold_selection.kind == "calibration"


def test_blocks_that_trained_models_of_other_kinds_are_all_known(make_kinds, tmp_path):
    other = {"gap_px": 4, "scenes": [{**SCENE, "training": [[0, 0, 4, 4]]}]}
    models = [
        make_kinds("a", "any"),
        make_kinds("b", "building", blocks=BLOCKS),
        make_kinds("c", "cropland", blocks=other),
    ]
    blocks = build_ensemble(models, tmp_path / "all.safetensors").card.blocks
    joined = {**SCENE, "training": [[0, 0, 8, 8], [0, 0, 4, 4]]}
    assert blocks == {"gap_px": 4, "scenes": [joined]}


def test_models_that_share_a_kind_must_share_their_data(make_kinds, tmp_path):
    models = [make_kinds("a", "any", "cropland"), make_kinds("b", "cropland", **fields())]
    with pytest.raises(ConfigError, match=r"share their data\.train_split"):
        build_ensemble(models, tmp_path / "all.safetensors")


def test_int8_weights_survive_another_rounding(make_kinds, tmp_path):
    models = [
        make_kinds(name, kind, precision="int8") for name, kind in (("a", "any"), ("b", "cropland"))
    ]
    report = build_ensemble(models, tmp_path / "int8.safetensors", precision="int8")
    assert report.precision == read_precision(report.out) == "int8"
    assert report.size_bytes < 1.2 * sum(path.stat().st_size for path in models)
    together = load_model(report.out)[0].state_dict()
    for number, path in enumerate(models):
        for name, value in load_model(path)[0].state_dict().items():
            assert torch.equal(together[f"members.{number}.{name}"], value), name
    assert [kind.threshold for kind in report.card.kinds] == [0.1, 0.1]
    assert build_ensemble(models, tmp_path / "plain.safetensors").precision == "float32"


def test_networks_are_taken_out_of_an_ensemble(make_kinds, tmp_path):
    models = [
        make_kinds(name, metrics={"validation": {"max_f1": number}})
        for number, name in enumerate("abc")
    ]
    whole = tmp_path / "whole.safetensors"
    build_ensemble(models, whole)
    two = build_ensemble([whole], tmp_path / "two.safetensors", keep=(3, 1))
    assert two.members == 2
    assert [tuple(one) for one in two.uncalibrated] == [(None, "val")]
    assert two.card.metrics["members"] == [{"validation": {"max_f1": n}} for n in (0, 2)]
    one = build_ensemble([whole], tmp_path / "one.safetensors", keep=(2,))
    network, card = load_model(one.out)
    assert card.architecture == "siamese_pyramid"
    assert card.metrics == {"validation": {"max_f1": 1}}
    assert card.recipe == CARD.recipe
    assert card.threshold is None
    for name, value in load_model(models[1])[0].state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_a_kind_is_named_for_models_that_name_none(make_kinds, tmp_path):
    old = make_kinds("a", metrics={"calibration": {"f1": 0.7}})
    named = build_ensemble([old], tmp_path / "named.safetensors", kind="cropland")
    assert named.card == read_card(named.out)
    assert named.card.kinds == (KindOfChange("cropland", 0.3),)
    assert named.card.threshold == 0.3
    assert named.card.metrics == {"calibration": {"f1": 0.7}}
    assert named.card.recipe == CARD.recipe
    assert load_model(named.out)[0].kinds == ("cropland",)
    scores = [load(path, device="cpu").predict(*make_pair()).score for path in (old, named.out)]
    assert np.array_equal(*scores)
    # An ensemble, too, stays what it is; put together with others it has to be calibrated.
    pair = build_ensemble([old, make_kinds("b")], tmp_path / "pair.safetensors").out
    save_model(pair, load_model(pair)[0], replace(load_model(pair)[1], threshold=0.25))
    known = build_ensemble([pair], tmp_path / "known.safetensors", kind="cropland").card
    assert known.kinds == (KindOfChange("cropland", 0.25),)
    new = make_kinds("c", "cropland", "building")
    both = build_ensemble([pair, new], tmp_path / "both.safetensors", kind="cropland").card
    assert [(kind.name, kind.threshold) for kind in both.kinds] == [
        ("cropland", None),
        ("building", 0.2),
    ]
    assert both.threshold is None


def test_what_makes_no_sense_is_refused(make, make_kinds, tmp_path):
    out = tmp_path / "out.safetensors"
    old, new = make_kinds("a"), make_kinds("b", "cropland")
    pair = build_ensemble([old, make_kinds("c")], tmp_path / "pair.safetensors").out
    for models, choices, words in [
        ([old], {}, "two models or more, got 1; give more, .*`keep`.*`kind`"),
        ([old, new], {}, r"a\.safetensors does not name .* \(cropland\); say which .*`kind`"),
        ([new], {"kind": "field"}, r"all models name .* \(cropland\).*: remove it"),
        ([old], {"kind": "Field"}, "lower-case letters"),
        ([make("d")], {"kind": "field"}, r"\(dasnet\) that compares embeddings.*leave it out"),
        ([pair, new], {"keep": (1,)}, "networks out of one ensemble, got 2 models"),
        ([old], {"keep": (1,)}, "is a single network.*remove `keep`"),
        ([pair], {"keep": (1, 3)}, "has the networks 1 to 2; .*, got 1, 3"),
        ([pair], {"keep": (2, 2)}, "each named once, got 2, 2"),
        ([pair], {"keep": ()}, "got none"),
    ]:
        with pytest.raises(ConfigError, match=words):
            build_ensemble(models, out, **choices)
    assert not out.exists()


def test_looks_of_training_images_join_where_their_units_are_the_same(make_kinds, tmp_path):
    def looks(name: str) -> Appearance:
        return Appearance(name, 3, (0.0,), (1.0,), 2.0, 1.0, windows=20, held_out=20)

    unit, other = (ValueRange(0.0, 100.0, high) for high in (200.0, 250.0))

    def sets(*domains: Domain) -> list[str]:
        models = [
            make_kinds(f"m{place}", kind, domain=domain)
            for place, (kind, domain) in enumerate(zip(("any", "cropland"), domains, strict=True))
        ]
        report = build_ensemble(models, tmp_path / "o.safetensors", existing="replace")
        return [one.name for one in report.card.domain.sets]

    one = Domain(values=(unit,) * 3, sets=(looks("a"),))
    assert sets(one, Domain(values=(unit,) * 3, sets=(looks("b"), looks("a")))) == ["b", "a"]
    assert sets(one, Domain(values=(other,) * 3, sets=(looks("b"), looks("c")))) == ["b", "c"]
    assert sets(Domain(values=(other,) * 3), one) == ["a"]
