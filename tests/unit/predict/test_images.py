import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from changedet._version import __version__
from changedet.card import ModelCard
from changedet.domain import Appearance, Domain, ValueRange
from changedet.errors import CheckpointError, ConfigError, DataError, ImageError
from changedet.inference.detector import Detector, load
from changedet.inference.torch_scorer import TorchScorer
from changedet.models.model_file import save_model
from changedet.predict.images import predict_files
from changedet.predict.remarks import warnings_of
from changedet.predict.summary import SUMMARY
from changedet.rendering.heatmap import heatmap
from changedet.selection import Selection
from changedet.types import Normalisation
from stand_ins import untrained_network

PICTURES = {"score.png", "mask.png", "heatmap.png", "overlay.png", "summary.json"}


def write_model(path: Path, *, threshold: float | None) -> Path:
    model = untrained_network("dasnet_v2")
    chosen = Selection("split", data="TINY", split="val", images=3)
    card = ModelCard(
        architecture=model.architecture,
        options=model.options,
        normalisation=Normalisation((120.0,) * 3, (110.0,) * 3, (60.0,) * 3, (60.0,) * 3),
        tile_px=64,
        threshold=threshold,
        threshold_selection=chosen if threshold else None,
        data_name="TINY",
    )
    save_model(path, model, card)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # This threshold lies among its scores.
    return write_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", threshold=0.3)


@pytest.fixture(scope="module")
def model_without_threshold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "bare.safetensors", threshold=None)


def random_pixels(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_image(path: Path, height: int = 48, width: int = 64, seed: int = 0, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_pixels(height, width, seed)).save(path, **options)
    return path


def write_pair(folder: Path, *, suffix: str = ".png", **sizes: int) -> tuple[Path, Path]:
    return (
        write_image(folder / f"before{suffix}", seed=1, **sizes),
        write_image(folder / f"after{suffix}", seed=2, **sizes),
    )


def write_folders(root: Path, stems: tuple[str, ...]) -> tuple[Path, Path]:
    for number, stem in enumerate(stems):
        height = 48 + 8 * number
        write_image(root / "A" / f"{stem}.png", height, seed=2 * number)
        write_image(root / "B" / f"{stem}.jpg", height, seed=2 * number + 1, quality=95)
    return root / "A", root / "B"


def read_pixels(path: Path) -> NDArray[np.generic]:
    with Image.open(path) as image:
        return np.asarray(image)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


def test_one_pair_gets_its_pictures_and_a_summary(tmp_path: Path, model: Path):
    before, after = write_pair(tmp_path)
    out = tmp_path / "out"
    report = predict_files(before, after, model=model, out=out, device="cpu")
    assert {path.name for path in out.iterdir()} == PICTURES
    expected = load(model, device="cpu").predict(read_pixels(before), read_pixels(after))
    score, mask = read_pixels(out / "score.png"), read_pixels(out / "mask.png")
    np.testing.assert_array_equal(score, np.rint(expected.score.astype(np.float64) * 65535))
    np.testing.assert_array_equal(mask, np.where(expected.mask, 255, 0))
    colours = read_pixels(out / "heatmap.png")
    np.testing.assert_array_equal(colours, heatmap(expected.score, threshold=0.3))
    changed = expected.mask
    assert 0 < changed.sum() < changed.size
    overlay = read_pixels(out / "overlay.png")
    np.testing.assert_array_equal(overlay[~changed], read_pixels(after)[~changed])
    assert (overlay[changed] != read_pixels(after)[changed]).any()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["threshold"] == {
        "score": 0.3,
        "distance": 0.6,
        "source": "max-F1 on split 'val' of TINY (3 images)",
    }
    assert summary["heatmap"] == "blue 0, green 0.300 (the threshold), red 0.600 and above"
    assert summary["model"]["file"] == "tiny.safetensors"
    assert summary["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (summary["width"], summary["height"]) == (64, 48)
    assert summary["changed_share"] == pytest.approx(changed.mean())
    assert summary["version"] == __version__
    assert report.pairs[0].changed_share == summary["changed_share"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_any_size_and_usual_format_is_taken(tmp_path: Path, model: Path, suffix: str):
    before, after = write_pair(tmp_path, suffix=suffix, height=101, width=77)
    predict_files(before, after, model=model, out=tmp_path / "out", device="cpu")
    assert read_pixels(tmp_path / "out" / "score.png").shape == (101, 77)


def test_two_folders_give_one_folder_a_pair(tmp_path: Path, model: Path):
    first, second = write_folders(tmp_path, ("east", "north", "west"))
    (first / "notes.txt").write_text("not an image")
    out, steps = tmp_path / "out", []
    report = predict_files(
        first,
        second,
        model=model,
        out=out,
        device="cpu",
        progress=lambda *step: steps.append(step),
    )
    assert sorted(path.name for path in out.iterdir()) == ["east", "north", "summary.json", "west"]
    for name in ("east", "north", "west"):
        assert {path.name for path in (out / name).iterdir()} == PICTURES
    alone = tmp_path / "alone"
    predict_files(first / "north.png", second / "north.jpg", model=model, out=alone, device="cpu")
    together = read_pixels(out / "north" / "score.png").astype(int)
    assert np.abs(together - read_pixels(alone / "score.png")).max() <= 1
    summary = json.loads((out / "summary.json").read_text())
    assert summary["images"] == 3
    assert [pair["name"] for pair in summary["pairs"]] == ["east", "north", "west"]
    one = json.loads((out / "west" / "summary.json").read_text())
    assert one["changed_share"] == summary["pairs"][2]["changed_share"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert len(report.pairs) == 3


def test_a_threshold_given_by_hand_wins_and_is_said(tmp_path: Path, model: Path):
    before, after = write_pair(tmp_path)
    report = predict_files(
        before, after, model=model, out=tmp_path / "out", threshold=0.0, device="cpu"
    )
    assert report.pairs[0].changed_share == 1.0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["threshold"] == {"score": 0.0, "distance": 0.0, "source": "set by the user"}


def test_a_model_without_threshold_asks_for_one(tmp_path: Path, model_without_threshold: Path):
    before, after = write_pair(tmp_path)
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"bare.*`threshold`.*validation.*changedet calibrate"):
        predict_files(before, after, model=model_without_threshold, out=out)
    assert not out.exists()
    predict_files(
        before, after, model=model_without_threshold, out=out, threshold=0.3, device="cpu"
    )
    assert (out / "mask.png").is_file()


@pytest.mark.parametrize("threshold", [1.5, -0.5])
def test_a_threshold_that_is_no_score_is_refused(tmp_path: Path, model: Path, threshold: float):
    before, after = write_pair(tmp_path)
    with pytest.raises(ConfigError, match=r"score in \[0, 1\], got .* half the distance"):
        predict_files(before, after, model=model, out=tmp_path / "out", threshold=threshold)


def test_another_runs_results_are_kept_unless_told(tmp_path: Path, model: Path):
    before, after = write_pair(tmp_path)
    out = tmp_path / "out"
    predict_files(before, after, model=model, out=out, device="cpu")
    first = (out / "score.png").read_bytes()
    with pytest.raises(
        ConfigError, match=r"contains the results of another run.*`existing=.replace.`"
    ):
        predict_files(after, after, model=model, out=out, device="cpu")
    assert (out / "score.png").read_bytes() == first
    predict_files(after, after, model=model, out=out, device="cpu", existing="replace")
    assert (out / "score.png").read_bytes() != first
    assert {path.name for path in out.iterdir()} == PICTURES


def test_a_failing_run_leaves_the_earlier_results_as_they_were(tmp_path: Path, model: Path):
    first, second = write_folders(tmp_path, ("a", "b"))
    out = tmp_path / "out"
    predict_files(first / "a.png", second / "a.jpg", model=model, out=out, device="cpu")
    content = {path.name: path.read_bytes() for path in out.iterdir()}
    damaged = second / "b.jpg"
    damaged.write_bytes(damaged.read_bytes()[:1500])
    with pytest.raises(ImageError, match=r"b\.jpg"):
        predict_files(first, second, model=model, out=out, device="cpu", existing="replace")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == content


def test_ctrl_c_leaves_nothing_half_done(tmp_path: Path, model: Path):
    first, second = write_folders(tmp_path, ("a", "b", "c"))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_files(
            first, second, model=model, out=out, device="cpu", batch_size=1, progress=interrupt
        )
    assert not out.exists()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("gone", ["before", "after"])
def test_a_wrong_path_is_named(tmp_path: Path, model: Path, gone: str):
    paths = dict(zip(("before", "after"), write_pair(tmp_path), strict=True))
    paths[gone] = tmp_path / "nowhere.png"
    with pytest.raises(DataError, match=r"no file or folder .*nowhere\.png"):
        predict_files(paths["before"], paths["after"], model=model, out=tmp_path / "out")


def test_a_folder_and_a_file_do_not_make_a_pair(tmp_path: Path, model: Path):
    first, second = write_folders(tmp_path, ("a",))
    with pytest.raises(
        DataError, match=r"B is a folder and .*a\.png is a file; give two images, or"
    ):
        predict_files(first / "a.png", second, model=model, out=tmp_path / "out")


def test_images_without_a_partner_are_named(tmp_path: Path, model: Path):
    first, second = write_folders(tmp_path, ("a", "b", "c"))
    (second / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"1 image\(s\) have no partner in .*B: b;"):
        predict_files(first, second, model=model, out=tmp_path / "out")
    (first / "b.png").unlink()
    (first / "c.png").unlink()
    with pytest.raises(DataError, match=r"no partner in .*A: c;"):
        predict_files(first, second, model=model, out=tmp_path / "out")


def test_two_images_of_one_stem_in_a_folder_are_refused(tmp_path: Path, model: Path):
    first, second = write_folders(tmp_path, ("a",))
    write_image(first / "a.tif")
    with pytest.raises(DataError, match=r"a\.png and a\.tif have the same stem"):
        predict_files(first, second, model=model, out=tmp_path / "out")


def test_an_empty_folder_is_refused(tmp_path: Path, model: Path):
    first, _ = write_folders(tmp_path, ("a",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no images"):
        predict_files(first, tmp_path / "empty", model=model, out=tmp_path / "out")


def test_images_of_different_sizes_are_refused_before_anything_is_done(tmp_path: Path, model: Path):
    before = write_image(tmp_path / "before.png", 48, 64)
    after = write_image(tmp_path / "after.png", 50, 64)
    with pytest.raises(DataError, match=r"before\.png is 64x48 and .*after\.png 64x50"):
        predict_files(before, after, model=model, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("mode", "message"),
    [("RGBA", "RGB image, got .*alpha"), ("I;16", "16"), ("L", "RGB image, got .*grey")],
)
def test_images_of_another_kind_are_refused(tmp_path: Path, model: Path, mode: str, message: str):
    before, after = tmp_path / "before.png", tmp_path / "after.png"
    image = Image.fromarray(np.zeros((16, 16), dtype=np.uint16 if "16" in mode else np.uint8))
    if mode == "RGBA":
        image = image.convert("RGBA")
    for path in (before, after):
        image.save(path)
    with pytest.raises(ImageError, match=message):
        predict_files(before, after, model=model, out=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_a_pickle_is_no_model_file(tmp_path: Path):
    before, after = write_pair(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match="changedet convert"):
        predict_files(before, after, model=tmp_path / "old.pth", out=tmp_path / "out")


def test_rasters_among_pictures_are_refused(tmp_path: Path, model: Path):
    first, second = write_folders(tmp_path, ("a",))
    write_image(first / "b.tif")
    write_image(second / "b.png")
    with pytest.raises(
        DataError, match=r"b\.tif is a TIFF among PNG or JPEG images.*folders of their own"
    ):
        predict_files(first, second, model=model, out=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_pictures_are_refused_by_a_model_of_16_bit(tmp_path: Path):
    network = untrained_network("dasnet_v2")
    stats = Normalisation((4000.0,) * 3, (4000.0,) * 3, (900.0,) * 3, (900.0,) * 3)
    card = ModelCard("dasnet_v2", network.options, stats, threshold=0.5, pixel_type="uint16")
    save_model(tmp_path / "deep.safetensors", network, card)
    before, after = write_pair(tmp_path)
    with pytest.raises(DataError, match=r"trained on uint16 rasters.*give GeoTIFFs"):
        predict_files(before, after, model=tmp_path / "deep.safetensors", out=tmp_path / "out")


def test_test_time_augmentation_can_be_asked_for_and_is_noted(tmp_path: Path, model: Path):
    before, after = write_pair(tmp_path)
    predict_files(
        before, after, model=model, out=tmp_path / "out", test_time="mirror", device="cpu"
    )
    detector = load(model, device="cpu", test_time="mirror")
    expected = detector.predict(read_pixels(before), read_pixels(after)).score
    stored = read_pixels(tmp_path / "out" / "score.png")
    np.testing.assert_array_equal(stored, np.rint(expected.astype(np.float64) * 65535))
    assert json.loads((tmp_path / "out" / SUMMARY).read_text())["test_time"] == "mirror"


def test_pairs_are_compared_to_what_the_training_images_looked_like(tmp_path: Path, model: Path):
    triangle = [1e3 * (row == column) for row in range(18) for column in range(row + 1)]
    look = Appearance("town", 3, (0.0,) * 18, tuple(triangle), 1.0, 0.5, windows=40, held_out=20)
    detector = load(model, device="cpu")
    domain = Domain(values=(ValueRange(20.0, 100.0, 230.0),) * 3, sets=(look,))
    card = replace(detector.card, domain=domain)
    strict = Detector(TorchScorer(detector.model, card, device="cpu"))
    first, second = write_folders(tmp_path, ("east", "west"))
    out = tmp_path / "out"
    report = predict_files(first, second, detector=strict, out=out)
    (said,) = [text for text in warnings_of(report.remarks) if "was made on" in text]
    assert said.startswith("these pairs look very unlike what the model was made on")
    assert "2 of 2 pairs are beyond that" in said
    together = json.loads((out / "summary.json").read_text())
    assert (together["domain_distance"]["nearest"], together["domain_distance"]["windows"]) == (
        "town",
        2,
    )
    one = json.loads((out / "east" / "summary.json").read_text())
    assert one["domain_distance"]["verdict"] == "far"
    assert any(
        remark["text"].startswith("this pair looks very unlike") for remark in one["remarks"]
    )
