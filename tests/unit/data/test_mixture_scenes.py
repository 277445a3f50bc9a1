"""Manifests of scenes as sets of a mixture, beside folders of pairs."""

import json

import numpy as np
import pytest
import torch

from changedet.data.index import check_splits, index_pairs
from changedet.data.labelled import read_pair
from changedet.data.labels.scan import scan_labels
from changedet.data.mixture import as_files, member_of
from changedet.data.mixture_index import leave_out
from changedet.data.rasters.manifest import READING_SCENES
from changedet.data.rasters.provenance import count_seen, record_blocks
from changedet.data.scene_notice import announce_scenes
from changedet.data.training.pairs import PairDataset
from changedet.data.training.sampling import SampleKey
from changedet.errors import ConfigError, DataError
from changedet.types import IGNORED
from conftest import write_split_folders

BOTH = """
sets:
  own: {data: scenes.yaml, kind: any, weight: 2}
  public: {data: public, kind: building, also_changed: any, gsd_m: 1}
"""


@pytest.fixture
def write(write_scene, tmp_path):
    """Write a scene with half-metre pixels, a folder of pairs and their mixture."""

    def write(text=BOTH, **scene):
        written = write_scene(**scene)
        write_split_folders(tmp_path / "public", counts=(3, 1, 0))
        path = tmp_path / "mixture.yaml"
        path.write_text(text)
        return path, written

    return write


def dataset(index, **options):
    settings = {"crop_px": 32, "seed": 1, "kinds": index.mixture.kinds, **options}
    encoding = scan_labels(index.pairs).encoding
    return PairDataset(index.split("train"), encoding=encoding, **settings)


def test_blocks_of_scenes_are_pairs_of_a_mixture(write):
    path, scene = write()
    index = index_pairs(path)
    alone = index_pairs(scene.folder / "scenes.yaml")
    for split in ("train", "val", "test"):
        blocks = [pair for pair in index.split(split) if member_of(pair).name == "own"]
        assert [pair.name for pair in blocks] == [f"own/{one.name}" for one in alone.split(split)]
        assert all(as_files(pair) is None for pair in blocks)
    assert len(index.split("train")) == len(alone.split("train")) + 3
    own, public = index.mixture.sets
    # The CRS says it.
    assert own.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert (own.gsd_is_measured, public.gsd_is_measured) == (True, False)
    assert index.scenes.gap_px == 4
    assert any(note.startswith("own: scenes cut into blocks") for note in index.notes)
    block = index.split("val")[0]
    read = read_pair(block, encoding=scan_labels(index.pairs).encoding)
    place = block.pair.window
    seen = np.s_[place.top : place.bottom, place.left : place.right]
    assert np.array_equal(read.before, scene.before[seen])
    assert np.array_equal(read.label, scene.truth[seen])


def test_crops_of_blocks_are_samples_of_a_mixture(write):
    index = index_pairs(write()[0])
    data = dataset(index)
    # A block of 64 px holds four crops, and a weight of 2 shows each of them twice.
    of_scenes = [one for one in index.split("train") if member_of(one).name == "own"]
    assert len(data) == 2 * 4 * len(of_scenes) + 3
    first, last = data[SampleKey(1, 0)], data[SampleKey(1, len(data) - 1)]
    assert first.before.shape == last.before.shape == (3, 32, 32)
    of_any, building = first.label
    assert set(of_any.unique().tolist()) <= {0, 1}
    assert set(building.unique().tolist()) == {IGNORED}
    again = dataset(index_pairs(index.root))[SampleKey(1, 0)]
    assert torch.equal(again.before, first.before)
    assert torch.equal(again.label, first.label)


def test_crops_of_scenes_are_brought_to_the_working_range(write):
    """Half-metre pixels brought to one metre: a crop of 32 px shows a whole block of 64 px."""
    index = index_pairs(write("sets: {own: {data: scenes.yaml, kind: any}}")[0])
    block = index.split("train")[0]
    whole = read_pair(block, encoding=scan_labels(index.pairs).encoding)
    sample = dataset(index, working_gsd_m=(1.0, 2.0))[SampleKey(1, 0)]
    assert sample.label.float().mean() == pytest.approx(float(whole.label.mean()), abs=0.03)
    assert sample.before.float().mean() == pytest.approx(float(whole.before.mean()), abs=1.0)


def test_a_folder_with_a_manifest_is_a_set_as_well(write):
    path, scene = write("sets: {own: {data: ., kind: any, splits: [train, val]}}")
    # Else the folder is the mixture itself.
    path = path.rename(scene.folder / "own.yaml")
    index = index_pairs(path)
    assert set(index.splits) == {"train", "val"}
    assert len(index.pairs) < len(index_pairs(scene.folder).pairs)


def test_patterns_choose_scenes_and_blocks_by_name(write):
    path, _ = write('sets: {own: {data: scenes.yaml, kind: any, exclude: "town_00000_*"}}')
    names = [pair.name for pair in index_pairs(path).pairs]
    assert names
    assert all(name.startswith("own/town_") and "town_00000" not in name for name in names)


def test_single_blocks_are_not_moved_into_validation(write):
    path, _ = write('sets: {own: {data: scenes.yaml, kind: any, validate: "town_00064_*"}}')
    with pytest.raises(DataError, match=r"validate of own .* keep no distance.*set split"):
        index_pairs(path)


def test_bands_of_scenes_stand_in_their_manifest(write):
    path, _ = write("sets: {own: {data: scenes.yaml, kind: any, bands: [3, 2, 1]}}")
    with pytest.raises(ConfigError, match="listed in their manifest"):
        index_pairs(path)


def test_scenes_of_other_values_do_not_go_with_pictures(write):
    path, _ = write(dtype="uint16")
    with pytest.raises(DataError, match="public has images of 3 bands of uint8, but own of 3"):
        index_pairs(path)


def test_a_file_that_is_no_manifest_is_refused(write):
    path, scene = write("sets: {own: {data: notes.txt, kind: any}}")
    (scene.folder / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match="is neither a folder nor a manifest; give its folder or"):
        index_pairs(path)


def test_what_was_trained_on_is_known_by_its_place(write):
    index = index_pairs(write()[0])
    stored = record_blocks(index.split("train"), index.split("val"), gap_px=index.scenes.gap_px)
    [scene] = json.loads(json.dumps(stored))["scenes"]
    own = index.data_sets["own"]
    assert len(scene["training"]) == len(own.split("train"))
    seen = count_seen(stored, own.split("train"))
    assert seen.trained_on == seen.blocks == len(own.split("train"))
    assert count_seen(stored, own.split("val"))[1:4] == (0, 0, len(own.split("val")))
    without = leave_out(index, ("own",))
    assert without.scenes is None
    assert {member_of(pair).name for pair in without.pairs} == {"public"}


def test_scenes_of_one_name_in_two_manifests_stay_apart(write):
    path, scene = write(
        "sets: {own: {data: scenes.yaml, kind: any}, twin: {data: twin.yaml, kind: any}}"
    )
    text = scene.manifest.read_text().replace("gap_px: 4", "gap_px: 8")
    (scene.folder / "twin.yaml").write_text(text.replace("after: after", "after: before"))
    index = index_pairs(path)
    assert index.scenes.gap_px == 4
    assert len(record_blocks(index.split("train"), (), gap_px=4)["scenes"]) == 2


def test_reading_scenes_is_announced(write):
    path, scene = write()
    said = []
    for root in (path, scene.folder / "scenes.yaml"):
        announce_scenes(root, said.append)
    announce_scenes(scene.folder / "public", said.append)
    assert said == [READING_SCENES] * 2


def test_splits_of_scenes_are_known_when_they_are_read(write):
    path, _ = write()
    check_splits(path, {"split": "test"})
    path.write_text(BOTH.replace("weight: 2", "splits: [train, val]"))
    with pytest.raises(DataError, match="has a split 'test'"):
        check_splits(path, {"split": "test"})
