"""Data sets of a mixture that are left out of training."""

import pytest

from changedet.data.index import index_pairs
from changedet.data.mixture import member_of, set_name
from changedet.data.mixture_file import check_held_out
from changedet.data.mixture_index import leave_out
from changedet.errors import ConfigError
from changedet.training.build import index_data
from changedet.training.config import load_config
from conftest import write_split_folders

THREE = """
sets:
  towns: {data: towns, kind: building, also_changed: any, region: Texas, terms: research only}
  fields: {data: fields, kind: cropland, region: Kansas, terms: ask first}
  roads: {data: fields, kind: road, splits: [train]}
"""


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    write_split_folders(folder / "towns", counts=(3, 2, 1))
    write_split_folders(folder / "fields", counts=(2, 1, 0))
    path = folder / "mixture.yaml"
    path.write_text(THREE)
    return path


def test_what_is_left_out_is_nowhere_in_the_index(mixture):
    whole = index_pairs(mixture)
    index = leave_out(whole, ["towns"])
    assert {split: len(pairs) for split, pairs in index.splits.items()} == {"train": 4, "val": 1}
    assert {set_name(pair) for pair in index.pairs} == {"fields", "roads"}
    assert [one.name for one in index.mixture.sets] == ["fields", "roads"]
    assert index.mixture.kinds == ("cropland", "road")
    assert index.mixture.terms == {"fields": "ask first"}
    assert index.mixture.regions == {"fields": "Kansas"}
    assert "left out: towns" in index.notes
    assert not any(note.startswith("towns:") for note in index.notes)
    # What was given stays as it is.
    assert member_of(whole.splits["train"][0]).name == "towns"


def test_settings_leave_sets_out_and_kinds_follow_from_the_others(mixture):
    config = load_config("pyramid_small", overrides=["data.held_out=[fields, roads]"])
    index, config = index_data(mixture, config)
    assert {set_name(pair) for pair in index.pairs} == {"towns"}
    assert config.model.kinds == ("any", "building")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["town"],
            r"`data.held_out` names a set 'town' that .*mixture.yaml does not have; did you",
        ),
        (["roads", "fields", "towns"], "names all sets of .*, so no set is left"),
    ],
)
def test_sets_that_cannot_be_left_out_are_refused_from_the_file_alone(mixture, names, words):
    with pytest.raises(ConfigError, match=words):
        check_held_out(mixture, names)
    with pytest.raises(ConfigError, match=words):
        leave_out(index_pairs(mixture), names)


def test_a_single_data_set_has_nothing_to_hold_out(mixture):
    folder = mixture.parent / "towns"
    with pytest.raises(ConfigError, match=r"is one data set, but `data.held_out` .*remove it"):
        check_held_out(folder, ["towns"])
    with pytest.raises(ConfigError, match="is one data set"):
        leave_out(index_pairs(folder), ["towns"])
