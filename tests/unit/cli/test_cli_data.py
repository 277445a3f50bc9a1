import json
import sys

import numpy as np
import pytest
from PIL import Image

from changedet.cli.data import app
from changedet.data.index import index_pairs
from changedet.errors import ConfigError, DataError


@pytest.fixture
def run(invoke):
    """Invoke a sub-command; mistakes of the user come out as exceptions."""

    def call(*words):
        result = invoke(app, *words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:4] = 255
    for split in ("train", "val"):
        for stem in ("0", "1"):
            for folder in ("A", "B"):
                path = tmp_path / "source" / split / folder / f"{split}{stem}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
            path = tmp_path / "source" / split / "label" / f"{split}{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    return tmp_path / "source"


def test_check_prints_facts_and_exits_with_0(run, source):
    result = run("check", source)

    assert result.exit_code == 0
    assert "A/B/label in split folders" in result.output
    assert "labels: 0 = unchanged, 255 = changed" in result.output
    assert "25.0000%" in result.output
    assert "16x16 (4)" in result.output
    assert "0 errors, 0 warnings" in result.output


def test_check_exits_with_0_on_warnings(run, source):
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(source / "val" / "label" / "val0.png")

    result = run("check", source)

    assert result.exit_code == 0
    assert "warning: val: 1 of 2 labels are empty" in result.output


def test_check_exits_with_1_on_errors_and_lists_them(run, source):
    (source / "val" / "A" / "val0.png").write_bytes(b"")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(source / "val" / "B" / "val1.png")

    result = run("check", source)

    assert result.exit_code == 1
    assert result.output.count("error: ") == 2
    assert "2 errors" in result.output


def test_check_says_so_when_it_does_not_print_every_error(run, source):
    (source / "train.txt").write_text("missing.png missing.png missing.png\n" * 60)

    result = run("check", source)

    assert result.output.count("error: ") == 50
    assert "... and 10 more errors; --json lists all" in result.output


def test_check_prints_json_and_nothing_else(run, source):
    (source / "val" / "A" / "val0.png").write_bytes(b"")

    result = run("check", source, "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == 1
    assert report["passed"] is False
    assert report["splits"]["train"]["changed_share"] == 0.25
    assert len(report["errors"]) == 1


def test_check_passes_the_options_on(run, source):
    mask = np.zeros((16, 16), np.uint8)
    mask[0, :2] = (3, 4)
    for path in source.glob("*/label/*.png"):
        Image.fromarray(mask).save(path)
    assert run("check", source).exit_code == 1

    result = run("check", source, "--changed-value", 3, "--ignore-value", 4)

    assert result.exit_code == 0
    assert "3 = changed as declared" in result.output
    assert run("check", source, "--channels", 1).exit_code == 1
    with pytest.raises(ConfigError, match="did you mean"):
        run("check", source, "--benchmark", "CLCDD")


def test_a_wrong_folder_is_the_users_mistake(run, tmp_path):
    with pytest.raises(DataError, match="not there"):
        run("check", tmp_path / "nowhere")


def test_prepare_writes_a_data_set_and_says_how_to_use_it(run, source, tmp_path):
    out = tmp_path / "out"

    result = run("prepare", source, "--out", out)

    assert result.exit_code == 0
    assert "labels: 0 = unchanged, 255 = changed" in result.output
    assert f"--data {out}" in result.output
    assert len(index_pairs(out).pairs) == 4


def test_prepare_refuses_and_replaces_as_told(run, source, tmp_path):
    out = tmp_path / "out"
    run("prepare", source, "--out", out, "--copy-images")
    assert (out / "train" / "A" / "train0.png").is_file()

    with pytest.raises(DataError, match='`existing="replace"`'):
        run("prepare", source, "--out", out)
    assert run("prepare", source, "--out", out, "--overwrite").exit_code == 0


def test_prepare_in_place_writes_into_the_source(run, source):
    run("prepare", source, "--in-place")

    assert (source / "train1.txt").is_file()
    assert "note: " not in run("check", source).output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "neither of --out and --in-place"),
        (["--out", "x", "--in-place"], "both of --out and --in-place"),
        (["--in-place", "--copy-images"], "applies with --out only"),
    ],
)
def test_prepare_must_be_told_where_to_write(run, source, options, message):
    with pytest.raises(ConfigError, match=message):
        run("prepare", source, *options)


def test_sample_writes_a_data_set_that_passes_the_check(run, tmp_path):
    folder = tmp_path / "sample"
    options = ["--train", 2, "--val", 1, "--test", 1, "--size", 32, "--seed", 3]

    assert run("sample", folder, *options).exit_code == 0

    index = index_pairs(folder)
    assert {split: len(pairs) for split, pairs in index.splits.items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
    }
    assert "0 errors" in run("check", folder).output
    with pytest.raises(DataError):
        run("sample", folder, *options)
    assert run("sample", folder, *options, "--overwrite").exit_code == 0


def test_sample_leaves_what_was_not_given_to_the_generator(run, tmp_path, monkeypatch):
    calls = []

    class Stand:
        @staticmethod
        def write_sample(folder, **options):
            calls.append(options)

    monkeypatch.setitem(sys.modules, "changedet.synthetic.dataset", Stand)
    run("sample", tmp_path / "new", "--train", 3, "--size", 64)

    assert calls[0].keys() == {"train", "size_px", "existing", "progress"}
    assert calls[0]["existing"] == "refuse"
