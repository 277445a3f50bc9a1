import pytest
import yaml

from changedet.errors import ConfigError
from changedet.training.config import (
    ExperimentConfig,
    dump_config,
    load_config,
    parse_config,
)
from changedet.training.recipes import list_recipes

# Spec 6: recipe, distance, loss terms (position, channel, fused), attention, epochs.
SPEC_ROWS = [
    ("dasnet", "dasnet", "l2", (1, 1, 1), "dual", 60),
    ("dasnet_v2_l2", "dasnet_v2", "l2", (1, 1, 1), "dual", 80),
    ("dasnet_v2_cosine", "dasnet_v2", "cosine", (1, 1, 1), "dual", 70),
    ("dasnet_v2_l2_fused_only", "dasnet_v2", "l2", (0, 0, 1), "dual", 80),
    ("dasnet_v2_l2_no_attention", "dasnet_v2", "l2", (1, 1, 1), "none", 80),
]
FAITHFUL = [name for name in list_recipes() if name.startswith("dasnet")]


@pytest.mark.parametrize(("recipe", "name", "distance", "terms", "attention", "epochs"), SPEC_ROWS)
def test_every_row_of_the_seed_has_its_recipe(recipe, name, distance, terms, attention, epochs):
    config = load_config(recipe)
    weights = config.loss.branch_weights
    assert (config.model.name, config.model.distance) == (name, distance)
    assert (weights.position, weights.channel, weights.fused) == terms
    assert (config.model.attention, config.training.epochs) == (attention, epochs)


@pytest.mark.parametrize("recipe", FAITHFUL)
def test_faithful_recipes_keep_the_seed_s_input_and_optimiser(recipe):
    config = load_config(recipe)
    assert config.optimizer.model_dump() == {
        "name": "adam",
        "lr": 1e-4,
        "weight_decay": 5e-5,
        "encoder_lr_factor": 1.0,
    }
    assert (config.data.bands, config.data.normalisation) == ("bgr", "mean")
    assert (config.data.crop_px, config.model.encoder) == (256, "resnet50")
    assert config.training.batch_size == (12 if config.model.name == "dasnet" else 4)
    assert config.augmentation == ExperimentConfig().augmentation
    assert config.training.validate_every == 1000
    assert config.training.log_every == 20


@pytest.mark.parametrize("recipe", list_recipes())
def test_a_dumped_recipe_reads_back_as_itself(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_config(load_config(recipe)))
    assert load_config(path) == load_config(recipe)


def test_settings_cannot_be_changed_after_reading():
    with pytest.raises(ValueError, match="frozen"):
        load_config("default").training.epochs = 3


def test_an_override_is_read_as_yaml():
    overrides = [
        "optimizer.lr=1e-5",
        "augmentation.scale=[0.5, 2]",
        "loss.branch_weights.channel=0",
    ]
    config = load_config("default", overrides=overrides)
    assert config.optimizer.lr == 1e-5
    assert config.augmentation.scale == (0.5, 2.0)
    assert config.loss.branch_weights.channel == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epcohs=3", r"training: unknown key 'epcohs'; did you mean 'epochs'\?"),
        (
            "loss.branch_weights.fusd=3",
            r"loss\.branch_weights: unknown key 'fusd'; did you mean 'fused'\?",
        ),
        ("modle.name=x", r": unknown key 'modle'; did you mean 'model'\?"),
        ("training.epochs=0", r"training\.epochs: .*greater than or equal to 1, got 0"),
        ("model.distance=l3", r"model\.distance: .*'l2' or 'cosine', got 'l3'"),
        ("loss.changed_share=0", r"loss\.changed_share: .*greater than 0"),
        ("epochs", r"must be section\.key=value, got 'epochs'"),
        ("training.epochs=[", "is not a YAML value"),
        ("name.x=1", "'name' is a value, not a section"),
    ],
)
def test_a_faulty_override_is_one_clear_line(override, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_config("default", overrides=[override])
    assert "\n" not in str(error.value)


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError, match=r"optimizer: unknown key 'rl'.*training\.epochs"):
        parse_config({"training": {"epochs": "x"}, "optimizer": {"rl": 1}}, origin="my.yaml")


def test_settings_of_earlier_runs_that_did_nothing_are_passed_over():
    earlier = {"augmentation": {"statistics_swap": 0.0, "fourier_swap": 0.0, "paste": 0.3}}
    config = parse_config(earlier, origin="config.yaml")
    assert (
        config.augmentation
        == parse_config({"augmentation": {"paste": 0.3}}, origin="config.yaml").augmentation
    )


def test_a_variation_that_is_gone_is_refused_by_its_name():
    with pytest.raises(ConfigError, match=r"augmentation.*fourier_swap is gone.*remove it"):
        load_config("any_change", overrides=["augmentation.fourier_swap=0.5"])


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'dasnet_v2_l2'"):
        load_config("dasnet_v2_l1")


def test_a_file_can_extend_a_recipe_and_a_neighbour(tmp_path):
    (tmp_path / "base.yaml").write_text("extends: dasnet_v2_l2\ntraining: {epochs: 9}\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\ntraining: {batch_size: 2}\n")
    config = load_config(tmp_path / "top.yaml")
    assert (config.training.epochs, config.training.batch_size) == (9, 2)
    assert config.model == load_config("dasnet_v2_l2").model


def test_files_that_extend_each_other_are_refused(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {other}.yaml\n")
    with pytest.raises(ConfigError, match="extends is circular"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not valid YAML"),
        (b"- 1", "got list"),
        (b"\xff\xfe\x00", "cannot read .* as UTF-8 text"),
        (b"training: {seed: 1, epochs: 2, seed: 3}", "'seed' occurs twice; remove one"),
        (b"!!map [1]", "not valid YAML"),
        (b"training: {seed: 1}\ntraining: {epochs: 2}", "'training' occurs twice"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_the_dump_is_plain_yaml_with_every_default():
    tree = yaml.safe_load(dump_config(ExperimentConfig()))
    assert tree["training"]["keep_best"] == 3
    assert tree["augmentation"]["horizontal_flip"] == 0.0


@pytest.mark.parametrize(
    ("recipe", "margins"),
    [
        ("dasnet_v2_cosine", [0.1, 0.8]),
        ("dasnet_v2_l2", [0.3, 2.2]),
        ("dasnet", [0.3, 2.2]),
        ("pyramid_small", None),
    ],
)
def test_the_dump_states_the_margins_that_the_distance_decides(recipe, margins):
    tree = yaml.safe_load(dump_config(load_config(recipe)))
    assert tree["loss"]["margins"] == margins


def test_another_distance_than_a_dumped_file_s_brings_its_own_margins(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(load_config("dasnet_v2_l2")))
    cosine = load_config(path, overrides=["model.distance=cosine"])
    assert yaml.safe_load(dump_config(cosine))["loss"]["margins"] == [0.1, 0.8]


def test_margins_of_one_s_own_stay(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: dasnet_v2_cosine\nloss: {margins: [0.3, 2.2]}\n")
    assert load_config(path).loss.margins == (0.3, 2.2)
    path.write_text("model: {distance: cosine}\nloss: {margins: [0.2, 0.9]}\n")
    assert load_config(path, overrides=["model.distance=l2"]).loss.margins == (0.2, 0.9)


@pytest.mark.parametrize("way", ["symbolic link", "hard link", "another folder"])
def test_settings_that_extend_themselves_by_another_name_are_refused(tmp_path, way):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    (tmp_path / "folder").mkdir()
    name = "folder/../a.yaml" if way == "another folder" else "b.yaml"
    first.write_text(f"extends: {name}\n")
    if way == "symbolic link":
        second.symlink_to(first)
    elif way == "hard link":
        second.hardlink_to(first)
    with pytest.raises(ConfigError, match="extends is circular"):
        load_config(first)


def test_a_long_chain_of_settings_is_refused(tmp_path):
    for number in range(50):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    with pytest.raises(ConfigError, match="leads through more than 32 files"):
        load_config(tmp_path / "0.yaml")


@pytest.mark.parametrize("value", ["[a]", "{a: b}", "3", "true"])
def test_settings_may_extend_only_what_has_a_name(tmp_path, value):
    (tmp_path / "a.yaml").write_text(f"extends: {value}\n")
    with pytest.raises(ConfigError, match="extends must name a recipe or file"):
        load_config(tmp_path / "a.yaml")


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(ConfigError, match="neither a file nor a recipe"):
        load_config("a" * 300)
