"""What the measuring of a data set says before a training."""

import shutil

import pytest

from changedet.data.index import index_pairs
from changedet.data.mixture import MixtureSet
from changedet.training.config import load_config
from changedet.training.dataset_statistics import measure_dataset
from stand_ins import TINY_NETWORK


@pytest.mark.parametrize(("low", "is_said"), [(0.5, False), (0.4, True)])
def test_a_zoom_beyond_the_whole_image_is_said(own_pairs_folder, low, is_said):
    config = load_config("default", overrides=[*TINY_NETWORK, f"augmentation.scale=[{low}, 1.0]"])
    said: list[str] = []
    measure_dataset(own_pairs_folder, index_pairs(own_pairs_folder), config, say=said.append)
    # Images of 64 px and crops of 32.
    assert any("are seen whole at 0.5" in line for line in said) is is_said


@pytest.mark.parametrize(
    ("settings", "reached"),
    [
        # Images of 64 px and crops of 32: a crop can hold the whole image at half of its size.
        (("augmentation.scale=[0.5, 1.0]", "data.test_time=scales"), None),
        (("augmentation.scale=[0.75, 1.0]", "data.test_time=scales"), "0.75"),
        (("augmentation.scale=[0.5, 1.0]", "data.crop_px=48", "data.test_time=scales"), "0.75"),
        (("augmentation.scale=[0.5, 1.0]", "data.crop_px=96", "data.test_time=coarse"), "1"),
        (("augmentation.scale=null", "data.test_time=scales"), "1"),
        (("data.test_time=turns",), None),
    ],
)
def test_views_coarser_than_training_ever_sees_are_said(own_pairs_folder, settings, reached):
    config = load_config("default", overrides=[*TINY_NETWORK, *settings])
    said: list[str] = []
    measure_dataset(own_pairs_folder, index_pairs(own_pairs_folder), config, say=said.append)
    notes = [line for line in said if "scores images at 0.5 of their size" in line]
    if reached is None:
        assert not notes
    else:
        assert len(notes) == 1
        assert f"training shows none below {reached};" in notes[0]


def test_training_pairs_in_another_split_are_said_and_kept(own_pairs_folder):
    for part in ("A", "B"):
        shutil.copy(own_pairs_folder / f"train/{part}/000.png", own_pairs_folder / f"val/{part}/")
    config = load_config("default", overrides=TINY_NETWORK)
    said: list[str] = []
    facts = measure_dataset(
        own_pairs_folder, index_pairs(own_pairs_folder), config, say=said.append
    )
    assert [leak.name for leak in facts.leaks] == ["000"]
    [warning] = [line for line in said if line.startswith("WARNING: leak: val: 1 of 2 pairs")]
    assert "000 = 000" in warning
    # As it stands in the run's record.
    assert type(facts).model_validate_json(facts.model_dump_json()).leaks == facts.leaks


@pytest.mark.parametrize(
    ("gsd_m", "zoom", "said"),
    [
        ("0.5", 0.5, "pixels of 0.5 m are shrunk to 1 m (x 0.5)"),
        ("4", 2.0, "pixels of 4 m are enlarged to 2 m (x 2)"),
        ("20", 4.0, "images are enlarged by 4 at most"),
        ("1.5", 1.0, None),
        ("null", 1.0, "the ground sample distance is not known, so the images are not resampled"),
    ],
)
def test_one_data_set_is_resampled_in_training_as_later_and_that_is_said(
    own_pairs_folder, gsd_m, zoom, said
):
    stated = gsd_m if gsd_m == "null" else f"[{gsd_m}]"
    settings = [*TINY_NETWORK, "data.working_gsd_m=[1, 2]", f"data.gsd_m={stated}"]
    config = load_config("default", overrides=settings)
    lines: list[str] = []
    facts = measure_dataset(
        own_pairs_folder, index_pairs(own_pairs_folder), config, say=lines.append
    )
    assert facts.zoom_of(None, config.data.working_gsd_m) == zoom
    # Of a mixture, each set has a length of its own.
    member = MixtureSet("a", "any", (), 1.0, 0.25, directed=False, encoding=facts.label)
    assert facts.zoom_of(member, config.data.working_gsd_m) == 0.25
    assert facts.zoom_of(member, None) == 1.0
    notes = [line for line in lines if "resampled" in line or "larged" in line or "shrunk" in line]
    assert any(said in line for line in notes) if said else not notes
