import pytest

from changedet.data.rasters.manifest import SplitRule, find_manifest, read_manifest
from changedet.errors import DataError

SCENE = "{name: town, before: a.tif, after: b.tif, labels: c.gpkg}"


@pytest.fixture
def manifest(tmp_path):
    def write(text):
        path = tmp_path / "scenes.yaml"
        path.write_text(text)
        return path

    return write


def test_a_manifest_needs_scenes_only(manifest):
    read = read_manifest(manifest(f"scenes: [{SCENE}]"))

    assert [scene.name for scene in read.scenes] == ["town"]
    assert read.bands is None
    assert read.rule == SplitRule()
    assert read.rule.shares == {"train": 0.7, "val": 0.15, "test": 0.15}


def test_everything_can_be_said(manifest):
    read = read_manifest(
        manifest(
            "scenes:\n"
            "  - {before: x/old.tif, after: https://host/new.tif, labels: c.tif, area: d.gpkg,"
            " split: test}\n"
            "bands: [4, 3, 2]\n"
            "bands_after: [1, 2, 3]\n"
            "split: {block_px: 512, gap_px: 32, seed: 7, shares: {train: 0.5, val: 0.5}}\n"
        )
    )

    scene = read.scenes[0]
    assert scene.name == "old"
    assert scene.before == str(read.path.parent / "x" / "old.tif")
    assert scene.after == "https://host/new.tif"
    assert scene.area == str(read.path.parent / "d.gpkg")
    assert (read.bands, read.bands_after) == ((4, 3, 2), (1, 2, 3))
    assert read.rule == SplitRule(
        block_px=512, gap_px=32, seed=7, shares={"train": 0.5, "val": 0.5}
    )


def test_a_split_without_a_share_is_not_made(manifest):
    read = read_manifest(
        manifest(f"scenes: [{SCENE}]\nsplit: {{shares: {{train: 0.8, val: 0.2, test: 0}}}}")
    )
    assert list(read.rule.shares) == ["train", "val"]


def test_the_data_set_is_named_by_its_folder_or_by_its_file(tmp_path, manifest):
    path = manifest(f"scenes: [{SCENE}]")
    other = tmp_path / "north.yaml"
    other.write_text(path.read_text())

    assert read_manifest(path).name == tmp_path.name
    assert read_manifest(other).name == "north"
    assert find_manifest(tmp_path) == path
    assert find_manifest(other) == other
    assert find_manifest(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scens: []", "unknown key 'scens'; did you mean 'scenes'"),
        ("[1, 2]", r"must contain keys \(scenes"),
        ("scenes: []", "at least one scene"),
        ("scenes: {a: 1}", "at least one scene"),
        ("scenes: [{befor: a.tif}]", r"scenes\[0\]: unknown key 'befor'; did you mean 'before'"),
        ("scenes: [{before: a, after: b}]", r"scenes\[0\].labels: is missing; add it"),
        ("scenes: [{before: a, after: b, labels: c, name: 7}]", "name must be text, got 7"),
        ("scenes: [{before: a, after: b, labels: c, split: trian}]", "one of train, val, test"),
        (f"scenes: [{SCENE}, {SCENE}]", "two scenes are named 'town'"),
        (f"scenes: [{SCENE}]\nbands: [1]\nbands: [2]", "the key 'bands' occurs twice"),
        (f"scenes: [{SCENE}]\nbands: [0]", "counted from 1"),
        (f"scenes: [{SCENE}]\nbands: red", "counted from 1"),
        (f"scenes: [{SCENE}]\nbands_after: [1]", "the same number for both dates"),
        (f"scenes: [{SCENE}]\nsplit: {{blokc_px: 9}}", "did you mean 'block_px'"),
        (f"scenes: [{SCENE}]\nsplit: {{block_px: 8}}", r"block_px must be in \[64, 4096\]"),
        (
            f"scenes: [{SCENE}]\nsplit: {{block_px: 128, gap_px: 50}}",
            r"gap_px must be in \[0, 48\]",
        ),
        (f"scenes: [{SCENE}]\nsplit: {{seed: -1}}", "seed must be"),
        (f"scenes: [{SCENE}]\nsplit: {{shares: {{train: 0.7}}}}", "must add up to 1, got 0.7"),
        (f"scenes: [{SCENE}]\nsplit: {{shares: {{train: 2}}}}", r"a share in \[0, 1\]"),
        (f"scenes: [{SCENE}]\nsplit: {{shares: {{tset: 1}}}}", "did you mean 'test'"),
        (f"scenes: [{SCENE[:-1]}, unchanged: maybe}}]", "unchanged must be true or false, got"),
        (f"scenes: [{SCENE[:-1]}, labels_layer: 3}}]", "labels_layer must be text, got 3"),
        ("scenes: [", "not valid YAML"),
        ("scenes: [town]", r"scenes\[0\]: must contain keys \(name, before.*, got 'town'"),
        (f"scenes: [{SCENE}]\nbands: [yes]", r"bands must list bands .*, got \[True\]"),
        (f"scenes: [{SCENE}]\nsplit: [1]", r"split: must contain keys \(block_px, .*, got \[1\]"),
        (f"scenes: [{SCENE}]\nsplit: {{block_px: 64}}", r"gap_px must be in \[0, 16\]"),
        (f"scenes: [{SCENE}]\nsplit: {{gap_px: 1.5}}", "gap_px must be a whole number"),
        (f"scenes: [{SCENE}]\nsplit: {{shares: {{train: .nan, val: 1}}}}", "train must be a share"),
        (f"scenes: [{SCENE}]\nsplit: {{shares: {{train: true}}}}", "train must be a share"),
        (f"scenes: [{SCENE}]\nscens:", "unknown key 'scens'"),
        (f"scenes: [{SCENE}]\n7: x", "unknown key 7; there are: scenes, bands"),
        (
            "scenes: [{before: 1, after: b, labels: c, split: x}]\nbands: 4",
            r"before must be a path.*; .*split must be one of.*; bands must list",
        ),
    ],
)
def test_a_fault_names_its_place_and_what_to_write(manifest, text, message):
    with pytest.raises(DataError, match=message) as error:
        read_manifest(manifest(text))
    assert "\n" not in str(error.value)


def test_a_key_without_a_value_is_as_good_as_left_out(manifest):
    scene = "{name: , before: a.tif, after: b.tif, labels: c.gpkg, area: , unchanged: }"
    empty = "bands:\nbands_after:\nsplit: {block_px: , shares: }\n"

    read = read_manifest(manifest(f"scenes: [{scene}]\n{empty}"))

    plain = read_manifest(manifest("scenes: [{before: a.tif, after: b.tif, labels: c.gpkg}]"))
    assert read == plain
    assert read.scenes[0].name == "a"


def test_a_file_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "scenes.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read"):
        read_manifest(path)
