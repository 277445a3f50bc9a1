"""What a teacher says of samples, and which files may teach a run."""

import pytest
import torch
from torch import nn

from changedet.card import ModelCard
from changedet.errors import CheckpointError, ConfigError
from changedet.models.base import ChangeModel
from changedet.models.model_file import save_model
from changedet.models.registry import create_model
from changedet.training.config import load_config
from changedet.training.request import TrainRequest, check_request
from changedet.training.teacher import Teacher, TeachingNetwork, load_teacher
from changedet.training.teacher_files import (
    check_teachers,
    check_unchanged,
    record_teachers,
    teacher_notes,
)
from changedet.types import BranchOutput, ChangeMap, Normalisation

CPU = torch.device("cpu")
AS_STORED = Normalisation((0.0,), (0.0,), (1.0,), (1.0,))


class Brightness(ChangeModel):
    """Its logit is the later image, after dropout, which only evaluation mode leaves alone."""

    architecture = "brightness"

    def __init__(self) -> None:
        super().__init__(
            in_channels=1, stride=1, branch_names=("fused",), fixed_tile=False, options={}
        )
        self.scale = nn.Parameter(torch.ones(()))
        self.drop = nn.Dropout(0.5)

    def compare(self, before, after, *, branches, levels):
        logit = self.scale * self.drop(after - before)[:, 0]
        return {"fused": BranchOutput(change=ChangeMap.from_logit(logit))}


def test_teachers_see_the_sample_each_with_its_own_normalisation():
    halved = Normalisation((0.0,), (1.0,), (1.0,), (2.0,))
    networks = [TeachingNetwork(Brightness().train(), stats) for stats in (AS_STORED, halved)]
    teacher = Teacher(networks, device=CPU)
    before = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    after = torch.full((1, 1, 4, 4), 3, dtype=torch.uint8)
    taught = teacher(before, after)
    expected = (torch.tensor(3.0).sigmoid() + torch.tensor(1.0).sigmoid()) / 2
    assert taught.shape == (1, 4, 4)
    assert torch.allclose(taught, expected.expand(1, 4, 4))
    assert not taught.requires_grad


def write_model(path, *, channels=3, pixel_type="uint8", seed=0, kinds=("any",), **card):
    torch.manual_seed(seed)
    model = create_model(
        "siamese_pyramid",
        pretrained=False,
        encoder="test_efficientnet",
        decoder_width=8,
        in_channels=channels,
        kinds=kinds,
    )
    values = (0.0,) * channels, (0.0,) * channels, (1.0,) * channels, (1.0,) * channels
    save_model(
        path,
        model,
        ModelCard(
            architecture=model.architecture,
            options=model.options,
            normalisation=Normalisation(*values),
            pixel_type=pixel_type,
            **card,
        ),
    )
    return path


def config_with(*models, **others):
    changes = [f"teacher.{name}={value}" for name, value in others.items()]
    return load_config(
        "pyramid_small", overrides=[f"teacher.models=[{', '.join(map(str, models))}]", *changes]
    )


def test_one_teacher_needs_no_list(tmp_path):
    path = write_model(tmp_path / "t.safetensors")
    config = load_config("pyramid_small", overrides=[f"teacher.models={path}"])
    assert config.teacher.models == (str(path),)
    assert load_teacher(config, device=CPU, autocast=None) is not None
    assert load_teacher(load_config("pyramid_small"), device=CPU, autocast=None) is None


@pytest.mark.parametrize("weight", ["0", "1.1", "-0.1"])
def test_a_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(ConfigError, match=r"teacher\.weight"):
        load_config("pyramid_small", overrides=[f"teacher.weight={weight}"])


def test_a_teacher_of_other_channels_or_values_is_refused_before_images_are_read(
    own_pairs_folder, tmp_path
):
    def check(path):
        request = TrainRequest(
            out=tmp_path / "run",
            data=own_pairs_folder,
            recipe="pyramid_small",
            overrides=(f"teacher.models={path}",),
        )
        return check_request(request)

    # Were an image opened, this would be found out.
    for image in own_pairs_folder.rglob("*.png"):
        image.write_bytes(b"no image")
    assert check(write_model(tmp_path / "fits.safetensors")).teacher.models
    with pytest.raises(ConfigError, match="takes images of 4 channels, but this run trains on 3"):
        check(write_model(tmp_path / "four.safetensors", channels=4))
    with pytest.raises(ConfigError, match="trained on uint16 values, but this run trains on uint8"):
        check(write_model(tmp_path / "deep.safetensors", pixel_type="uint16"))
    with pytest.raises(CheckpointError, match="there is no model file"):
        check(tmp_path / "missing.safetensors")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        check(next(own_pairs_folder.rglob("*.png")))


def test_values_are_checked_as_soon_as_they_are_known(tmp_path):
    config = config_with(write_model(tmp_path / "t.safetensors"))
    check_teachers(config)
    with pytest.raises(ConfigError, match="this run trains on float32"):
        check_teachers(config, channels=3, pixel_type="float32")


def test_another_content_under_the_same_name_is_refused(tmp_path):
    config = config_with(write_model(tmp_path / "t.safetensors"))
    stored = record_teachers(config)
    check_unchanged(stored, config)
    write_model(tmp_path / "t.safetensors", seed=1)
    with pytest.raises(ConfigError, match="is another file than when this run started"):
        check_unchanged(stored, config)


def test_a_crop_that_the_teacher_cannot_take_is_refused(tmp_path):
    path = write_model(tmp_path / "t.safetensors")
    config = load_config("pyramid_small", overrides=[f"teacher.models={path}", "data.crop_px=100"])
    with pytest.raises(ConfigError, match=r"multiple of 32, the stride of the teacher .*set it to"):
        load_teacher(config, device=CPU, autocast=None)


def test_the_maps_of_a_teacher_are_those_of_the_student_s_kinds(tmp_path):
    two = write_model(tmp_path / "two.safetensors", kinds=("any", "building"))

    def taught(*kinds):
        config = config_with(two)
        model = config.model.model_copy(update={"kinds": kinds})
        teacher = load_teacher(
            config.model_copy(update={"model": model}), device=CPU, autocast=None
        )
        images = torch.arange(2 * 3 * 64 * 64).reshape(2, 3, 64, 64).remainder(251).byte()
        return teacher(images, images.flip(2))

    both = taught("any", "building").reshape(2, 2, 64, 64)
    swapped = taught("building", "any").reshape(2, 2, 64, 64)
    assert torch.equal(both, swapped.flip(1))
    assert torch.equal(taught("building"), both[:, 1])
    assert not torch.equal(both[:, 0], both[:, 1])
    with pytest.raises(ConfigError, match="does not find the kind of change 'cropland'"):
        taught("any", "cropland")


def test_a_run_says_who_teaches_and_warns_of_one_that_knows_the_validation_images(tmp_path):
    recipe = {"data": {"train_split": "train+val", "val_split": "val"}}
    path = write_model(tmp_path / "t.safetensors", data_name="CLCD", recipe=recipe)
    config = config_with(path, weight=0.25, temperature=2)
    said, warning = teacher_notes(config, data_name="clcd")
    assert said == f"teacher: {path}; 25 % of the loss at temperature 2"
    assert warning.startswith("WARNING: ")
    assert "was trained on split val of clcd, which validates this run" in warning
    assert len(list(teacher_notes(config, data_name="another"))) == 1
    assert list(teacher_notes(load_config("pyramid_small"), data_name="clcd")) == []
