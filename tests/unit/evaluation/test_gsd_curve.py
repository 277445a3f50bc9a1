"""F1 of a model over the ground sample distance of the images."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from changedet.data.labelled import DecodedPair
from changedet.errors import ConfigError
from changedet.evaluation.gsd_curve import curve as curve_module
from changedet.evaluation.gsd_curve.curve import measure_gsd_curve, resampled_pairs
from changedet.evaluation.gsd_curve.request import GsdCurveRequest, lengths_of
from stand_ins import write_kinds_model

pytestmark = pytest.mark.usefixtures("blank_charts")


@pytest.fixture
def request_(tmp_path: Path, pairs_folder: Path) -> GsdCurveRequest:
    return GsdCurveRequest(
        write_kinds_model(tmp_path / "model.safetensors", working_gsd_m=(1.0, 1.0)),
        pairs_folder,
        tmp_path / "out",
        gsd_m=1.0,
        lengths_m=(2.0, 0.5, 1.0),
        device="cpu",
    )


def test_each_length_is_judged_with_and_without_resampling(request_, monkeypatch):
    seen = []
    count = curve_module.ScoreSource.count

    def counted(source, pairs, **options):
        pairs = list(pairs)
        seen.append((pairs[0].shape, source.detector.zoom))
        return count(source, pairs, **options)

    monkeypatch.setattr(curve_module.ScoreSource, "count", counted)
    ticks = []
    results = measure_gsd_curve(request_, progress=lambda done, total: ticks.append((done, total)))
    # 64 px at 1 m: twice as many at 0.5 m. At its own length the model sees them once.
    assert seen == [
        ((128, 128), 1.0),
        ((128, 128), 0.5),
        ((64, 64), 1.0),
        ((32, 32), 1.0),
        ((32, 32), 2.0),
    ]
    assert ticks[-1] == (10, 10)
    fine, own, coarse = results.points
    assert (fine.gsd_m, own.gsd_m, coarse.gsd_m) == (0.5, 1.0, 2.0)
    assert own.resampled == own.as_they_are
    assert (fine.resampled.factor, coarse.resampled.factor) == (0.5, 2.0)
    assert (results.change_kind, results.threshold, results.images) == ("any", 0.1, 2)
    with (request_.out / "gsd.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["gsd_m"], row["images"]) for row in rows[:3]] == [
        ("0.5", "as_they_are"),
        ("0.5", "resampled"),
        ("1", "as_they_are"),
    ]
    assert float(rows[0]["f1"]) == pytest.approx(fine.as_they_are.f1, abs=1e-6)
    assert (request_.out / "gsd.png").is_file()
    assert json.loads((request_.out / "gsd.json").read_text())["own_gsd_m"] == 1.0


def test_a_model_without_a_range_is_shown_images_as_they_are_alone(request_, tmp_path):
    plain = write_kinds_model(tmp_path / "plain.safetensors")
    asked = replace(request_, model=plain, kind="building", lengths_m=(1.0,), pairs=1)
    results = measure_gsd_curve(asked)
    assert results.points[0].resampled is None
    assert (results.change_kind, results.threshold, results.images) == ("building", 0.2, 1)


def test_images_without_a_length_need_one(request_):
    with pytest.raises(ConfigError, match="set `gsd_m`"):
        measure_gsd_curve(replace(request_, gsd_m=None))
    assert not request_.out.exists()


def test_steps_go_from_half_of_the_own_length_to_four_times_it(request_):
    lengths = lengths_of(replace(request_, lengths_m=None), 0.5)
    assert (lengths[0], lengths[-1]) == pytest.approx((0.25, 2.0))
    np.testing.assert_allclose(np.divide(lengths[1:], lengths[:-1]), 2**0.5)
    with pytest.raises(ConfigError, match=r"between 0\.0625 and 16 m"):
        replace(request_, lengths_m=(30.0,)).check()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_shrunk_images_are_smoothed_and_labels_keep_their_values(dtype: str):
    stripes = np.zeros((40, 60, 2), dtype)
    stripes[:, ::2] = 200
    label = np.zeros((40, 60), np.uint8)
    label[:, 30:] = 1
    label[:8] = 255
    (half,) = resampled_pairs([DecodedPair(stripes, stripes, label)], 0.5)
    assert half.before.shape == (20, 30, 2)
    assert half.before.dtype == np.dtype(dtype)
    # Stripes of a pixel's width are grey then, not black or white.
    assert np.abs(half.before[:, 2:-2].astype(float) - 100).max() < 30
    assert set(np.unique(half.label)) == {0, 1, 255}
    np.testing.assert_array_equal(half.label, label[1::2, 1::2])
    (same,) = resampled_pairs([DecodedPair(stripes, stripes, label)], 1.0)
    assert same.before is stripes
