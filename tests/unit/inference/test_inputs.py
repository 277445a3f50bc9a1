"""Images in every form that a caller may have them in."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from PIL import Image

import changedet
from changedet.card import ModelCard
from changedet.errors import DataError, ImageError
from changedet.inference.detector import Detector
from changedet.inference.inputs import count_channels
from changedet.inference.opening import open_detector
from changedet.inference.scorer import HostScorer
from changedet.types import Normalisation

PLACE = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_400_000.0)


class Mean(HostScorer):
    """Scores by the difference of the mean of the channels; no network is needed here."""

    stride = 1
    fixed_tile = False
    test_time = "none"

    def __init__(self, channels: int = 3, pixel_type: str = "uint8") -> None:
        self.in_channels = channels
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        statistics = Normalisation(zeros, zeros, ones, ones)
        self.card = ModelCard("mean", {}, statistics, pixel_type=pixel_type, threshold=0.2)

    def score(self, before, after):
        pairs = zip(before, after, strict=True)
        scale = 255 if self.card.pixel_type == "uint8" else 10_000
        return np.stack([abs(b / scale - a / scale).mean(2, dtype=np.float32) for b, a in pairs])


def images(channels: int = 3, *, dtype: str = "uint8") -> tuple[np.ndarray, np.ndarray]:
    before = np.random.default_rng(0).integers(0, 100, (30, 40, channels)).astype(dtype)
    after = before.copy()
    after[5:20, 10:30] += 140
    return before, after


@pytest.fixture
def detector() -> Detector:
    return Detector(Mean())


@pytest.mark.parametrize(
    "form",
    [
        Image.fromarray,
        lambda image: torch.from_numpy(image).permute(2, 0, 1),
        lambda image: torch.from_numpy(image).permute(2, 0, 1)[None],
        lambda image: torch.from_numpy(image).permute(2, 0, 1).contiguous(),
    ],
)
def test_images_and_tensors_give_what_arrays_give(detector: Detector, form):
    before, after = images()
    expected = detector.predict(before, after)
    found = detector.predict(form(before), form(after))
    np.testing.assert_array_equal(found.score, expected.score)
    np.testing.assert_array_equal(found.after, after)
    mixed = detector.predict(before, form(after))
    np.testing.assert_array_equal(mixed.score, expected.score)


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_are_read(detector: Detector, tmp_path: Path, kind):
    before, after = images()
    for name, image in (("a.png", before), ("b.png", after)):
        Image.fromarray(image).save(tmp_path / name)
    found = detector.predict(kind(tmp_path / "a.png"), kind(tmp_path / "b.png"))
    np.testing.assert_array_equal(found.score, detector.predict(before, after).score)
    with pytest.raises(ImageError, match=r"cannot open .*c\.png"):
        detector.predict(kind(tmp_path / "a.png"), kind(tmp_path / "c.png"))


def test_a_pillow_image_is_turned_as_its_camera_says(detector: Detector, tmp_path: Path):
    before, after = images()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(np.rot90(after).copy()).save(tmp_path / "b.png", exif=exif)
    with Image.open(tmp_path / "b.png") as turned:
        found = detector.predict(before, turned)
    np.testing.assert_array_equal(found.after, after)


def test_palette_and_grey_pillow_images_are_taken_where_nothing_is_lost():
    before, after = (image[..., 0] for image in images(1))
    grey = Detector(Mean(1)).predict(Image.fromarray(before), Image.fromarray(after))
    np.testing.assert_array_equal(grey.after[..., 0], after)
    palette = Image.fromarray(after).convert("P")
    rgb = Detector(Mean()).predict(palette, palette)
    np.testing.assert_array_equal(rgb.after, np.asarray(palette.convert("RGB")))


def test_values_of_other_types_are_taken_by_models_of_them():
    before, after = images(2, dtype="uint16")
    detector = Detector(Mean(2, "uint16"))
    expected = detector.predict(before, after).score
    tensors = (torch.from_numpy(image.astype(np.int32)).permute(2, 0, 1) for image in images(2))
    floats = [image.float() for image in tensors]
    np.testing.assert_allclose(detector.predict(*floats).score, expected, atol=1e-6)


def geotiff(path: Path, image: np.ndarray, transform: Affine = PLACE, **profile: object) -> str:
    height, width, count = image.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=count,
        dtype=image.dtype,
        crs="EPSG:32633",
        transform=transform,
        **profile,
    ) as raster:
        raster.write(image.transpose(2, 0, 1))
    return str(path)


def test_rasters_are_aligned_by_their_place_and_gaps_score_nothing(
    detector: Detector, tmp_path: Path
):
    before, after = images()
    before[:, :3], after[:, :3] = 0, 200
    first = geotiff(tmp_path / "a.tif", before, nodata=0)
    second = geotiff(tmp_path / "b.tif", after[4:], PLACE @ Affine.translation(0, 4), nodata=0)
    found = detector.predict(first, Path(second))
    expected = detector.predict(before[4:], after[4:])
    np.testing.assert_array_equal(found.score[:, 3:], expected.score[:, 3:])
    assert not found.score[:, :3].any()
    assert found.mask.sum() == 15 * 20


def test_a_raster_with_an_image_without_place_is_refused(detector: Detector, tmp_path: Path):
    before, after = images()
    with pytest.raises(DataError, match=r"a\.tif is a raster and the other image is none"):
        detector.predict(geotiff(tmp_path / "a.tif", before), after)


def test_rasters_too_large_for_memory_are_refused(detector: Detector, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("changedet.inference.inputs._MOST_RASTER_PX", 1000)
    paths = [geotiff(tmp_path / f"{n}.tif", image) for n, image in enumerate(images())]
    with pytest.raises(DataError, match=r"40x30 pixels, too many .* changedet\.predict_scene"):
        detector.predict(*paths)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (3, "must be a path, a Pillow image, an array .* got int"),
        (Image.new("RGBA", (40, 30)), r'4 band\(s\) \(RGBA\).*image\.convert\("RGB"\)'),
        (Image.new("L", (40, 30)), r"1 band\(s\) \(L\)"),
        (torch.zeros(2, 3, 30, 40, dtype=torch.uint8), "as pairs to predict_batch"),
        (torch.zeros(3, 30, 40), "8-bit values .* got float32"),
        (np.zeros((3, 30, 40), np.uint8), r"channels come last: array\.transpose\(1, 2, 0\)"),
        (torch.zeros(30, 40, dtype=torch.uint8), r"shape \(height, width, 3\)"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(detector: Detector, image, message: str):
    with pytest.raises(DataError, match=message) as error:
        detector.predict(images()[0], image)
    assert "\n" not in str(error.value)


def test_a_batch_may_mix_forms(detector: Detector):
    before, after = images()
    pairs = [(before, after), (Image.fromarray(before), torch.from_numpy(after).permute(2, 0, 1))]
    one, other = detector.predict_batch(pairs)
    np.testing.assert_array_equal(one.score, other.score)


def test_a_baseline_measures_an_image_as_a_whole():
    before = np.random.default_rng(0).integers(0, 100, (300, 520, 3)).astype(np.uint8)
    after = before.copy()
    after[:, 500:] += 100
    detector = open_detector("baseline:cva")
    whole = detector.scorer.score([before], [after])[0]
    np.testing.assert_array_equal(detector.predict(before, after).score, whole)


def test_a_method_of_any_number_of_channels_learns_it_from_the_pair(tmp_path: Path):
    before, after = images(4)
    # Of four bands the last would be taken for alpha.
    kind = {"photometric": "minisblack", "alpha": "no"}
    paths = [
        geotiff(tmp_path / f"{n}.tif", image, **kind) for n, image in enumerate((before, after))
    ]
    assert count_channels(*paths) == count_channels(before, after) == 4
    tensors = [torch.from_numpy(image).permute(2, 0, 1)[None] for image in (before, after)]
    assert count_channels(*tensors) == 4
    grey = Image.fromarray(after[..., 0])
    assert count_channels(grey, grey) == count_channels(after[..., 0], after[..., 0]) == 1
    assert count_channels("a.png", "b.png") == count_channels(grey, grey.convert("RGB")) == 3
    found = changedet.predict(*paths, model="baseline:cva")
    assert found.after.shape == (30, 40, 4)
    arrays = open_detector("baseline:cva", channels=4).predict(before, after)
    np.testing.assert_allclose(found.score, arrays.score, atol=1e-6)
