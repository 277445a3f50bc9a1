import dataclasses
import json
import math
import os
import re
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from changedet.card import ModelCard, read_card, read_parameter_count, read_precision
from changedet.errors import CheckpointError, ConfigError
from changedet.models.model_file import load_model, rounded_tensors, save_model
from changedet.models.registry import create_model
from changedet.models.tensor_file import serialise
from changedet.selection import Selection
from changedet.types import CDD_NORMALISATION


def make_model(**options):
    torch.manual_seed(0)
    settings = {"encoder": "test_efficientnet", "head_width": 8, **options}
    return create_model("dasnet_v2", **settings)


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def card(model):
    return ModelCard(
        architecture=model.architecture,
        options=model.options,
        normalisation=CDD_NORMALISATION,
        tile_px=128,
        threshold=0.41,
        threshold_selection=Selection("other", text="best F1 on val"),
        label={"kind": "binary", "changed": [255]},
        metrics={"f1": 0.9, "kappa": None},
        data_name="CDD",
        licence_note="research only",
        recipe={"optimizer": {"lr": 1e-4}},
    )


@pytest.fixture
def path(tmp_path, model, card):
    save_model(tmp_path / "model.safetensors", model, card)
    return tmp_path / "model.safetensors"


def room(path):
    """Bytes of the tensors, which follow the header and its length."""
    with path.open("rb") as file:
        return path.stat().st_size - 8 - int.from_bytes(file.read(8), "little")


def rewrite(path, *, tensors=None, **changes):
    """Write the file again with other tensors, or with other values in its card."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    stored = safetensors.torch.load_file(path) if tensors is None else tensors
    stated = {**json.loads(metadata["changedet"]), **changes}
    metadata["changedet"] = json.dumps(stated)
    safetensors.torch.save_file(stored, path, metadata)


def test_a_loaded_model_computes_the_same(path, model, card):
    before, after = torch.randn(2, 1, 3, 32, 32)
    loaded, read = load_model(path)
    assert not loaded.training
    assert read == card
    model.eval()
    with torch.inference_mode():
        assert torch.equal(loaded(before, after).distance, model(before, after).distance)


def test_the_card_is_read_without_the_weights(path, card):
    size = path.stat().st_size
    with path.open("r+b") as file:
        # Everything behind the header.
        header = int.from_bytes(file.read(8), "little") + 8
        file.seek(header)
        file.write(b"\xff" * (size - header))
    assert read_card(path) == card


def test_the_number_of_parameters_is_stated(path, model):
    assert read_parameter_count(path) == sum(p.numel() for p in model.parameters())


def test_half_precision_is_stored_as_float32(tmp_path, card):
    save_model(tmp_path / "half.safetensors", make_model().half(), card)
    stored = safetensors.torch.load_file(tmp_path / "half.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float32, torch.int64}


def test_channels_last_weights_are_stored(tmp_path, card, model):
    other = make_model().to(memory_format=torch.channels_last)
    save_model(tmp_path / "last.safetensors", other, card)
    loaded, _ = load_model(tmp_path / "last.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_undefined_metrics_become_null(tmp_path, model, card):
    path = tmp_path / "model.safetensors"
    undefined = dataclasses.replace(card, metrics={"f1": math.nan, "all": [math.inf, 0.5]})
    save_model(path, model, undefined)
    assert read_card(path).metrics == {"f1": None, "all": [None, 0.5]}


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_is_named_with_the_command_that_converts_it(tmp_path, protocol):
    for is_zip in (True, False):
        path = tmp_path / "old.pth"
        torch.save(
            {"net": {"a": torch.ones(2)}},
            path,
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=is_zip,
        )
        with pytest.raises(CheckpointError, match=r"old\.pth is a pickle.*changedet convert"):
            load_model(path)


def test_a_header_that_starts_like_a_pickle_is_still_a_model_file(tmp_path, model, card):
    path = tmp_path / "model.safetensors"
    # Fill the card until the header's length, the first bytes of the file, reads 80 02.
    for filler in range(0x10000):
        if path.exists() and path.read_bytes()[:2] == b"\x80\x02":
            break
        missing = 0x280 - int.from_bytes(path.read_bytes()[:2], "little") if path.exists() else 0
        note = "x" * (missing % 0x10000 if path.exists() else filler)
        save_model(path, model, dataclasses.replace(card, licence_note=note))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert read_card(path).architecture == "dasnet_v2"


@pytest.mark.parametrize("kept", [0, 5, 300, -100])
def test_a_file_that_was_cut_short_is_named(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    for read in (load_model, read_card):
        with pytest.raises(
            CheckpointError, match=r"model\.safetensors is truncated or not a safetensors file"
        ):
            read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no model file .*absent\.safetensors"):
        load_model(tmp_path / "absent.safetensors")


def test_plain_weights_are_no_model(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"a": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="no model card"):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "dasnet_v9"}, r"cannot be rebuilt: model 'dasnet_v9' does not exist"),
        ({"options": {"encoder": "test_efficientnet", "depth": 3}}, "unknown key 'depth'"),
        ({"options": {"encoder": "test_efficientnet", "head_width": "wide"}}, "cannot be rebuilt"),
        ({"format_version": 99}, "format 99 is newer than 2"),
        ({"threshold": 40}, r"`threshold` must be a score in \[0, 1\], got 40"),
        ({"threshold": "high"}, "model card that cannot be read"),
        ({"surprise": 1}, "model card that cannot be read"),
        ({"normalisation": [1, 2]}, "model card that cannot be read"),
    ],
)
def test_a_card_that_cannot_be_used_is_named(path, changes, message):
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_model(path)


def test_a_file_that_is_older_than_an_option_can_be_read_and_written_again(path, tmp_path, model):
    older = {name: value for name, value in model.options.items() if name != "activation"}
    rewrite(path, options=older)
    again, card = load_model(path)
    assert card.options == model.options
    save_model(tmp_path / "again.safetensors", again, card)
    assert read_card(tmp_path / "again.safetensors").options == model.options


def test_weights_of_another_width_are_named(path, model):
    rewrite(path, options={**model.options, "head_width": 16})
    with pytest.raises(CheckpointError, match=r"has head\.position\.reduce\.0\.weight as \(8, "):
        load_model(path)


def test_a_missing_tensor_is_named(path):
    tensors = safetensors.torch.load_file(path)
    del tensors["decoder.blocks.0.0.weight"]
    rewrite(path, tensors=tensors)
    with pytest.raises(CheckpointError, match=r"lacks decoder\.blocks\.0\.0\.weight"):
        load_model(path)


def test_the_card_must_be_of_the_model(tmp_path, card):
    with pytest.raises(ConfigError, match="make the card from the model"):
        save_model(tmp_path / "model.safetensors", make_model(distance="cosine"), card)
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused(tmp_path, model, card):
    with pytest.raises(
        ConfigError, match=r"a model file must end in \.safetensors, got 'model\.pth'"
    ):
        save_model(tmp_path / "model.pth", model, card)


@pytest.mark.parametrize("change", [{"threshold": 1.5}, {"threshold": math.nan}, {"tile_px": 0}])
def test_a_card_refuses_what_makes_no_sense(card, change):
    with pytest.raises(ConfigError, match="must be"):
        dataclasses.replace(card, **change)


def test_the_type_of_the_pixels_is_kept_and_old_files_are_of_bytes(tmp_path, path, model, card):
    wide = tmp_path / "wide.safetensors"
    save_model(wide, model, dataclasses.replace(card, pixel_type="uint16"))
    assert read_card(wide).pixel_type == "uint16"

    with safetensors.safe_open(path, framework="pt") as file:
        stated = json.loads(file.metadata()["changedet"])
    del stated["pixel_type"]
    old = tmp_path / "old.safetensors"
    safetensors.torch.save_file(
        safetensors.torch.load_file(path), old, {"changedet": json.dumps(stated)}
    )
    assert read_card(old).pixel_type == "uint8"
    with pytest.raises(ConfigError, match="pixel_type must be one of uint8, uint16, float32"):
        dataclasses.replace(card, pixel_type="int16")


def test_blocks_and_bands_of_scenes_are_kept_and_files_without_them_are_read(
    tmp_path, path, model, card
):
    scene = {"name": "town", "before": "a.tif", "crs": None, "transform": [1, 0, 0, 0, -1, 0]}
    windows = {"training": [[0, 0, 64, 64]], "validation": []}
    blocks = {"gap_px": 4, "scenes": [{**scene, **windows}]}
    bands = {"source_bands": (3, 2, 1), "source_bands_after": (1, 2, 3)}
    whole = dataclasses.replace(card, blocks=blocks, **bands)
    save_model(tmp_path / "scenes.safetensors", model, whole)
    assert read_card(tmp_path / "scenes.safetensors") == whole

    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    stated = json.loads(metadata["changedet"])
    for key in ("blocks", *bands):
        del stated[key]
    metadata["changedet"] = json.dumps(stated)
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata)
    assert read_card(path) == card


def test_float16_stores_parameters_in_half_the_room_and_loads_as_float32(
    tmp_path, path, model, card
):
    half = tmp_path / "half.safetensors"
    save_model(half, model, card, precision="float16")
    assert room(half) < 0.52 * room(path)
    loaded, read = load_model(half)
    assert read == card
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32, torch.int64}
    for name, value in model.named_parameters():
        rounded = dict(loaded.named_parameters())[name]
        assert torch.equal(rounded, value.half().float()), name
    for name, value in model.named_buffers():
        assert torch.equal(dict(loaded.named_buffers())[name], value), name


def test_running_statistics_and_what_float16_cannot_hold_stay_exact(tmp_path, card):
    odd = make_model()
    norm = odd.encoder.backbone.bn1
    with torch.no_grad():
        # A variance that float16 would round to 0, which the layer divides by.
        norm.running_var.fill_(1e-9)
        norm.running_mean.fill_(1e5)
        norm.weight.fill_(1e5 / 3)
        norm.weight[0] = 1e5
        norm.bias.fill_(1e-9 / 3)
        odd.encoder.backbone.conv_stem.weight.view(-1)[0] = 1e-9
    save_model(tmp_path / "odd.safetensors", odd, card, precision="float16")
    stored = safetensors.torch.load_file(tmp_path / "odd.safetensors")
    for name in ("running_var", "running_mean", "weight", "bias"):
        value = stored[f"encoder.backbone.bn1.{name}"]
        assert value.dtype == torch.float32
        assert torch.equal(value, getattr(norm, name).detach())
    # One tiny value among ordinary ones is no reason.
    assert stored["encoder.backbone.conv_stem.weight"].dtype == torch.float16


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_loaded_file_computes_what_its_rounded_tensors_compute(tmp_path, card, precision):
    model = make_model()
    before, after = torch.randn(2, 1, 3, 32, 32)
    save_model(tmp_path / "first.safetensors", model, card, precision=precision)
    model.load_state_dict(rounded_tensors(model, precision=precision))
    # Rounded twice is rounded once.
    save_model(tmp_path / "second.safetensors", model, card, precision=precision)
    for name in ("first", "second"):
        loaded, _ = load_model(tmp_path / f"{name}.safetensors")
        with torch.inference_mode():
            assert torch.equal(loaded(before, after).distance, model.eval()(before, after).distance)


def test_int8_quarters_the_file_and_moves_no_weight_by_more_than_half_a_step(
    tmp_path, path, model, card
):
    with torch.no_grad():
        # A channel that is off, one that float16 could not hold, and one of a single weight.
        weight = model.encoder.backbone.conv_stem.weight
        weight[0], weight[1] = 0.0, weight[1] * 1e-12
        weight[2] = 0.0
        weight[2, 0, 0, 0] = 3.0
    small = tmp_path / "small.safetensors"
    save_model(small, model, card, precision="int8")
    assert room(small) < 0.3 * room(path)
    loaded, read = load_model(small)
    assert read == card
    assert read_precision(small) == "int8"
    values = dict(loaded.named_parameters())
    for name, value in model.named_parameters():
        if value.dim() < 2:
            assert torch.equal(values[name], value.half().float()), name
            continue
        largest = value.abs().amax(dim=tuple(range(1, value.dim())), keepdim=True)
        # The step itself is rounded to eight bits.
        assert ((values[name] - value).abs() <= largest / 127 * 0.76).all(), name
    for name, value in model.named_buffers():
        assert torch.equal(dict(loaded.named_buffers())[name], value), name


def test_int8_leaves_a_weight_that_is_no_number_as_it_is(tmp_path, card):
    model = make_model()
    weight = model.encoder.backbone.conv_stem.weight
    with torch.no_grad():
        weight[0, 0, 0, 0] = math.inf
        weight[1, 0, 0, 0] = math.nan
    save_model(tmp_path / "m.safetensors", model, card, precision="int8")
    stored = safetensors.torch.load_file(tmp_path / "m.safetensors")
    kept = stored["encoder.backbone.conv_stem.weight"]
    assert torch.equal(kept.isfinite(), weight.isfinite())


def test_the_precision_is_stated_and_older_files_hold_float32(tmp_path, path, model, card):
    assert read_precision(path) == "float32"
    save_model(tmp_path / "half.safetensors", model, card, precision="float16")
    assert read_precision(tmp_path / "half.safetensors") == "float16"
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    del metadata["precision"]
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata)
    assert read_precision(path) == "float32"


def test_an_unknown_precision_is_refused_and_nothing_is_written(tmp_path, model, card):
    with pytest.raises(
        ConfigError, match="precision must be one of float32, float16, int8, got 'int4'"
    ):
        save_model(tmp_path / "model.safetensors", model, card, precision="int4")
    assert list(tmp_path.iterdir()) == []


def test_test_time_augmentation_is_kept_and_files_without_it_have_none(tmp_path, path, model, card):
    turning = dataclasses.replace(card, test_time="turns")
    save_model(tmp_path / "turns.safetensors", model, turning)
    assert read_card(tmp_path / "turns.safetensors").test_time == "turns"
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    stated = json.loads(metadata["changedet"])
    del stated["test_time"]
    metadata["changedet"] = json.dumps(stated)
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata)
    assert read_card(path).test_time == "none"
    with pytest.raises(ConfigError, match="test_time must be one of none, mirror, flips, turns"):
        dataclasses.replace(card, test_time="rotate")
    rewrite(path, test_time="rotate")
    with pytest.raises(
        CheckpointError, match=r"test_time: Input should be 'none', .*update changedet"
    ):
        read_card(path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(path, value):
    tensors = safetensors.torch.load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = value
    rewrite(path, tensors=tensors)
    with pytest.raises(CheckpointError, match=f"not finite numbers .* in {name}"):
        load_model(path)


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf])
def test_statistics_that_nothing_can_be_divided_by_are_refused(path, std):
    stated = dataclasses.asdict(CDD_NORMALISATION)
    rewrite(path, normalisation={**stated, "std_after": (std, 1.0, 1.0)})
    with pytest.raises(CheckpointError, match="standard deviations of both dates must be finite"):
        load_model(path)


SMALL = {"encoder": "test_resnet", "in_channels": 3}


def write_card(path, architecture, options, **changes):
    """Write a file of a few bytes whose card asks for a network; it has no tensors."""
    card = ModelCard(architecture, {}, CDD_NORMALISATION).to_dict()
    card |= {"options": options, **changes}
    path.write_bytes(serialise({}, {"changedet": json.dumps(card)}))
    return path


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({**SMALL, "head_width": 60_000}, "lacks"),
        ({**SMALL, "head_width": 10**9}, "less than or equal to 65536"),
        ({**SMALL, "head_width": 0}, "greater than or equal to 1"),
        ({**SMALL, "head_width": "8"}, "head_width"),
        ({**SMALL, "head_width": True}, "head_width"),
        ({**SMALL, "in_channels": 10**12}, "in_channels"),
        ({**SMALL, "dropout": float("nan")}, "dropout"),
        ({**SMALL, "encoder": "x" * 1000}, "encoder"),
        ({**SMALL, "encoder": ["resnet50"]}, "encoder"),
        ({**SMALL, "encoder": "hf-hub:somebody/model"}, "is not a timm model"),
        ({**SMALL, "encoder": "local-dir:/tmp"}, "is not a timm model"),
        ({**SMALL, "pretrained": "/etc/passwd"}, "unknown key 'pretrained'"),
        ({**SMALL, "name": "dasnet"}, "unknown key 'name'"),
        ({**SMALL, "distance": "far"}, "distance"),
        ({**SMALL, "in_channels": 4}, "takes 4 channels, the normalisation 3"),
    ],
)
def test_options_that_a_file_may_not_ask_for_are_refused_before_anything_is_built(
    tmp_path, options, fault
):
    path = write_card(tmp_path / "m.safetensors", "dasnet_v2", options)
    before = torch.get_rng_state()
    with pytest.raises(CheckpointError, match=re.escape(fault)):
        load_model(path)
    # Weights would have been drawn.
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "members",
    [
        [],
        [{"architecture": "dasnet", "options": SMALL}],
        [{"architecture": "dasnet", "options": SMALL}] * 65,
        [{"architecture": "ensemble", "options": {"members": []}}] * 2,
        [{"architecture": "dasnet", "options": {**SMALL, "pretrained": True}}] * 2,
        [{"architecture": "dasnet"}] * 2,
        "members",
    ],
)
def test_ensembles_of_anything_else_than_networks_are_refused(tmp_path, members):
    path = write_card(tmp_path / "m.safetensors", "ensemble", {"members": members})
    with pytest.raises(CheckpointError, match="cannot be rebuilt"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"tile_px": 4097},
        {"tile_px": 10**30},
        {"threshold": float("nan")},
        {"data_name": "x" * 10**4},
    ],
)
def test_cards_with_numbers_out_of_range_are_refused(tmp_path, change):
    path = write_card(tmp_path / "m.safetensors", "dasnet_v2", SMALL, **change)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_card(path)


def test_tensors_of_other_types_and_steps_of_other_shapes_are_refused(tmp_path, model, card, path):
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    name = next(name for name, value in tensors.items() if value.dim() == 4)
    complex_ = {**tensors, name: tensors[name].to(torch.complex64)}
    path.write_bytes(serialise(complex_, metadata))
    with pytest.raises(CheckpointError, match="as C64"):
        load_model(path)
    huge = {**tensors, name: tensors[name].to(torch.int8), f"{name}.int8_step": torch.ones(1, 9999)}
    path.write_bytes(serialise(huge, metadata))
    with pytest.raises(CheckpointError, match="not one step for each channel"):
        load_model(path)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_equal_models_give_equal_files_in_every_process(tmp_path, precision):
    code = (
        "import sys, torch\n"
        "from changedet.card import ModelCard\n"
        "from changedet.models.model_file import save_model\n"
        "from changedet.models.ensemble import Ensemble\n"
        "from changedet.models.registry import create_model\n"
        "from changedet.types import CDD_NORMALISATION\n"
        "torch.manual_seed(0)\n"
        "make = lambda: create_model('siamese_pyramid', encoder='test_resnet', decoder_width=8)\n"
        "model = Ensemble([make(), make()])\n"
        "card = ModelCard(model.architecture, model.options, CDD_NORMALISATION)\n"
        f"save_model(sys.argv[1], model, card, precision='{precision}')\n"
    )
    contents = []
    for number in (1, 2):
        path = tmp_path / f"{number}.safetensors"
        environment = {**os.environ, "PYTHONHASHSEED": str(number)}
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
