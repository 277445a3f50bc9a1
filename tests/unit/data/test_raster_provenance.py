"""Records of the blocks that a run used, compared with how scenes are cut later."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from changedet.data.index import index_pairs
from changedet.data.rasters.provenance import (
    add_validation,
    count_blocks,
    count_seen,
    difference,
    record_blocks,
)

SPLIT = "block_px: 64, gap_px: 6"


def cut(scene, split=SPLIT):
    text = scene.manifest.read_text()
    scene.manifest.write_text(text[: text.rindex("split:")] + f"split: {{{split}}}\n")
    return index_pairs(scene.folder)


def record(index):
    # As it comes back from a file.
    blocks = record_blocks(index.split("train"), index.split("val"), gap_px=index.scenes.gap_px)
    return json.loads(json.dumps(blocks))


def place(block):
    window = block.window
    return np.s_[window.top : window.bottom, window.left : window.right]


def test_a_record_holds_the_windows_and_is_the_same_as_long_as_the_split_is(write_scene):
    scene = write_scene()
    index = cut(scene)
    stored = record(index)

    assert stored["gap_px"] == 6
    assert stored["scenes"][0]["name"] == "town"
    assert stored["scenes"][0]["before"] == "before.tif"
    assert "UTM zone 31N" in stored["scenes"][0]["crs"]
    assert count_blocks(stored, "training") == len(index.split("train"))
    windows = [list(block.window) for block in index.split("val")]
    assert stored["scenes"][0]["validation"] == windows
    assert difference(stored, record(cut(scene))) is None


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("block_px: 64, gap_px: 6, seed: 5", "14 training blocks then, 14 now, "),
        ("block_px: 96, gap_px: 6", "14 training blocks then, 8 now, 0 of them the same"),
        # The training blocks stay.
        ("block_px: 64, gap_px: 7", "3 validation blocks then, 3 now, 0 of them the same"),
    ],
)
def test_another_split_is_another_record(write_scene, split, words):
    scene = write_scene()
    stored = record(cut(scene))
    assert words in difference(stored, record(cut(scene, split)))


def test_the_splits_of_a_run_itself_are_told_apart(write_scene):
    index = cut(write_scene())
    stored = record(index)
    train, val, test = (count_seen(stored, index.split(name)) for name in index.splits)

    assert train.trained_on == train.blocks == len(index.split("train"))
    assert (val.trained_on, val.too_close, val.chosen_on) == (0, 0, val.blocks)
    assert (test.trained_on, test.too_close, test.chosen_on) == (0, 0, 0)
    assert test.in_training == ()


@pytest.mark.parametrize(
    "split",
    [
        "block_px: 64, gap_px: 6, seed: 5",
        "block_px: 80, gap_px: 0",
        "block_px: 64, gap_px: 3, seed: 1",
    ],
)
def test_seen_blocks_are_those_that_share_pixels_or_lie_too_close(write_scene, split):
    scene = write_scene()
    first = cut(scene)
    stored = record(first)
    trained, chosen, near = (np.zeros(scene.truth.shape, bool) for _ in range(3))
    for block in first.split("train"):
        trained[place(block)] = True
        window = block.window
        rows = slice(max(0, window.top - 6), window.bottom + 6)
        near[rows, max(0, window.left - 6) : window.right + 6] = True
    for block in first.split("val"):
        chosen[place(block)] = True

    test = cut(scene, split).split("test")
    seen = count_seen(stored, test)

    on = [trained[place(block)].any() for block in test]
    close = [near[place(block)].any() for block in test]
    assert seen.blocks == len(test)
    assert seen.trained_on == sum(on)
    assert seen.too_close == sum(close) - sum(on)
    assert seen.chosen_on == sum(chosen[place(block)].any() for block in test)
    assert seen.trained_on + seen.too_close > 0
    assert f"of {len(test)} blocks" in seen.in_training[0]


def test_blocks_are_known_wherever_the_files_lie_and_whatever_else_is_cut_off(
    write_scene, tmp_path
):
    import rasterio
    from rasterio.windows import Window

    scene = write_scene()
    stored = record(cut(scene))
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("before.tif", "labels.gpkg"):
        shutil.copy(scene.folder / name, moved)
    # The common area, on which windows count, now begins elsewhere.
    with rasterio.open(scene.folder / "after.tif") as file:
        part = Window(64, 128, 256, 128)
        profile = {**file.profile, "transform": file.window_transform(part)}
        profile |= {"width": 256, "height": 128}
        with rasterio.open(moved / "after.tif", "w", **profile) as cropped:
            cropped.write(file.read(window=part))
    manifest = scene.manifest.read_text().replace("name: town", "name: other, split: test")
    (moved / "scenes.yaml").write_text(manifest)

    blocks = index_pairs(moved).split("test")
    seen = count_seen(stored, blocks)

    trained = {tuple(window[:2]) for window in stored["scenes"][0]["training"]}
    expected = sum((b.window.top + 128, b.window.left + 64) in trained for b in blocks)
    assert len(blocks) == 8
    assert 0 < expected < 8
    assert seen.trained_on == expected


def test_without_georeference_the_name_of_the_scene_has_to_be_the_same(write_scene):
    scene = write_scene()
    for name, pixels in (("before", scene.before), ("after", scene.after), ("label", scene.truth)):
        scale = np.uint8(255 if name == "label" else 1)
        Image.fromarray(pixels * scale).save(scene.folder / f"{name}.png")
    text = "scenes: [{name: %s, before: before.png, after: after.png, labels: label.png}]\nsplit: x"
    scene.manifest.write_text(text % "town")
    first = cut(scene)
    stored = record(first)
    assert stored["scenes"][0]["crs"] is None
    assert count_seen(stored, first.split("train")).trained_on == len(first.split("train"))

    scene.manifest.write_text(text % "village")
    assert count_seen(stored, cut(scene).split("train")).trained_on == 0


def test_two_scenes_whose_files_have_the_same_names_are_both_recorded(write_scene):
    scene = write_scene()
    east = scene.folder / "east"
    east.mkdir()
    import rasterio
    from affine import Affine

    for name in ("before.tif", "after.tif"):
        shutil.copy(scene.folder / name, east)
        with rasterio.open(east / name, "r+") as file:
            file.transform = Affine.translation(1000, 0) @ file.transform
    scene.manifest.write_text(
        "scenes:\n"
        "- {name: w, before: before.tif, after: after.tif, labels: labels.gpkg, split: train}\n"
        "- {name: e, before: east/before.tif, after: east/after.tif, labels: labels.gpkg, "
        "unchanged: true, split: val}\n"
        "split: x"
    )
    index = cut(scene)
    stored = record(index)
    west, other = (count_seen(stored, index.split(split)) for split in ("train", "val"))

    assert (west.trained_on, west.chosen_on) == (west.blocks, 0)
    assert (other.trained_on, other.chosen_on) == (0, other.blocks)


def test_added_validation_blocks_stand_once_beside_the_records_own(write_scene):
    scene = write_scene()
    index = cut(scene)
    stored = record(index)
    test = record_blocks([], index.split("test"), gap_px=6)
    both = add_validation(add_validation(stored, test), stored)
    windows = stored["scenes"][0]["validation"] + test["scenes"][0]["validation"]
    assert both["scenes"][0]["validation"] == windows
    assert difference(stored, both, roles=("training",)) is None
    assert difference(stored, both) is not None
    seen = count_seen(both, index.split("test"))
    assert seen.chosen_on == seen.blocks > 0


def test_a_scene_that_is_new_to_a_record_comes_in_without_its_training_blocks(write_scene):
    stored = record(cut(write_scene()))
    other = json.loads(json.dumps(stored).replace('"town"', '"village"'))
    both = add_validation(stored, other)
    assert [scene["name"] for scene in both["scenes"]] == ["town", "village"]
    assert both["scenes"][1]["validation"] == stored["scenes"][0]["validation"]
    assert count_blocks(both, "training") == count_blocks(stored, "training")
