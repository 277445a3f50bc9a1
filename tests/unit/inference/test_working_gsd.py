"""Kinds of change and ground sample distances of a model in use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from changedet.card import ModelCard
from changedet.errors import ConfigError
from changedet.inference.detector import Detector, load
from changedet.inference.tiling import score_pairs
from changedet.inference.torch_scorer import TorchScorer
from changedet.inference.working_gsd import GsdMatch, match_gsd, remarks_on_gsd
from changedet.inference.zoom import unzoom_scores, zoom_images
from changedet.kinds import KindOfChange
from changedet.raster.remark import warnings_of
from changedet.types import ChangeOutput, Normalisation
from stand_ins import Difference, write_kinds_model

PLAIN = Normalisation((0.0,) * 3, (0.0,) * 3, (255.0,) * 3, (255.0,) * 3)
CARD = ModelCard("stand-in", {}, PLAIN, tile_px=64, working_gsd_m=(0.5, 2.0))
KINDS = (
    KindOfChange("any", threshold=0.5, temperature=2.0),
    KindOfChange("building", threshold=0.25),
)


def squares(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two images, of which the second one has bright squares."""
    before = np.full((height, width, 3), 50, np.uint8)
    after = before.copy()
    after[height // 4 : height // 2, width // 4 : width // 2] = 250
    return before, after


class TwoKinds(Difference):
    """Its second kind of change is the first one halved."""

    kinds = ("any", "building")

    def forward(self, before, after, *, branches, kinds=(0, 1)) -> ChangeOutput:
        score = super().forward(before, after, branches=branches).score
        return ChangeOutput(score=torch.cat([score / (1 + kind) for kind in kinds]), branches={})


@pytest.mark.parametrize(
    ("gsd_m", "factor"),
    [
        *((0.25, 0.5), (0.02, 0.04), (0.5, 1.0), (1.3, 1.0), (2.0, 1.0), (4.0, 2.0)),
        # What a map projection distorts is no reason to resample.
        *((2.02, 1.0), (0.49, 1.0)),
        # What is not shown cannot be made up.
        *((8.0, 4.0), (30.0, 4.0)),
    ],
)
def test_images_are_brought_to_the_nearest_end_of_the_working_range(gsd_m: float, factor: float):
    assert match_gsd(CARD, given=gsd_m, measured=None).factor == pytest.approx(factor)
    assert match_gsd(CARD, given=None, measured=gsd_m).source == "georeference"


def test_what_the_user_says_counts_more_than_the_georeference():
    match = match_gsd(CARD, given=4.0, measured=0.5)
    assert match == GsdMatch(4.0, "user", (0.5, 2.0), 2.0)
    (warned,) = warnings_of(remarks_on_gsd(match, measured=0.5))
    assert "`gsd_m` says that pixels are 4 m long" in warned
    assert not warnings_of(remarks_on_gsd(match, measured=3.9))


def test_images_of_unknown_length_stay_as_they_are_and_this_is_said():
    match = match_gsd(CARD, given=None, measured=None)
    assert match.factor == 1.0
    (warned,) = warnings_of(remarks_on_gsd(match, measured=None))
    assert "not known" in warned
    assert "set `gsd_m`" in warned


@pytest.mark.parametrize(("gsd_m", "done"), [(30.0, "enlarged"), (0.01, "shrunk")])
def test_lengths_far_beyond_the_range_are_warned_of(gsd_m: float, done: str):
    match = match_gsd(CARD, given=gsd_m, measured=None)
    (warned,) = warnings_of(remarks_on_gsd(match, measured=None))
    assert f"that they are {done}" in warned
    near = match_gsd(CARD, given=7.0, measured=None)
    assert not warnings_of(remarks_on_gsd(near, measured=None))


def test_a_model_without_a_range_takes_every_length_as_it_is():
    plain = replace(CARD, working_gsd_m=None)
    assert match_gsd(plain, given=30.0, measured=None).factor == 1.0
    assert match_gsd(plain, given=None, measured=30.0).factor == 1.0
    assert not list(remarks_on_gsd(match_gsd(plain, given=None, measured=3.0), measured=3.0))


@pytest.mark.parametrize("gsd_m", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_that_is_none_is_refused(gsd_m: float):
    with pytest.raises(ConfigError, match="`gsd_m` is the side of a pixel in metres"):
        match_gsd(CARD, given=gsd_m, measured=1.0)


@pytest.mark.parametrize("zoom", [0.1, 0.37, 0.5, 1.7, 2.0, 4.0])
@pytest.mark.parametrize("size", [(48, 80), (7, 33), (1, 64)])
def test_what_is_zoomed_fits_the_network_and_comes_back_in_place(zoom: float, size):
    rows, columns = (torch.linspace(0.0, 1.0, length) for length in size)
    ramp = (rows[:, None] + columns) / 2
    seen = zoom_images(ramp.expand(1, 3, *size), zoom, multiple=32)
    assert seen.shape[-2] % 32 == seen.shape[-1] % 32 == 0
    back = unzoom_scores(seen[:, 0], zoom, size=size)
    assert tuple(back.shape[-2:]) == size
    # Half a pixel of the coarser of the two along each side.
    step = sum(0.5 / max(1, round(length * min(zoom, 1.0))) for length in size)
    assert (back[0] - ramp).abs().max() <= step + 0.01


def test_a_network_sees_what_resampled_images_would_show_it():
    model = Difference(stride=16)
    before, after = squares(128, 192)
    zoomed = TorchScorer(model, CARD, device="cpu").zoomed(0.5)
    (score,) = zoomed.score([before], [after])
    assert model.shapes == [(1, 3, 64, 96)]
    assert score.shape == (128, 192)
    truth = (after[..., 0] > before[..., 0]).astype(np.float32) * (200 / 255)
    inside = ndimage.binary_erosion(truth > 0, structure=np.ones((9, 9)))
    np.testing.assert_allclose(score[inside], truth[inside], atol=1e-5)
    outside = ~ndimage.binary_dilation(truth > 0, structure=np.ones((9, 9)))
    assert score[outside].max() < 1e-5


@pytest.mark.parametrize("zoom", [0.25, 0.77, 1.6, 4.0])
@pytest.mark.parametrize("size", [(64, 64), (50, 90), (200, 130)])
def test_a_network_sees_about_as_many_pixels_whatever_the_length(zoom: float, size):
    model = Difference(stride=16)
    scorer = TorchScorer(model, CARD, device="cpu").zoomed(zoom)
    pair = squares(*size)
    (_, score), *_ = score_pairs(scorer, [0], images=lambda item: pair)
    assert tuple(score.shape) == size
    for shape in model.shapes:
        assert max(shape[2:]) <= 64
    # As many at once as memory has room for, whatever the batch was meant to hold.
    assert max(shape[0] for shape in model.shapes) <= max(1, 8 / max(zoom, 1) ** 2)


def test_a_scorer_within_its_range_gives_the_same_bits():
    before, after = squares(100, 140)
    plain = Detector(TorchScorer(Difference(), replace(CARD, working_gsd_m=None), device="cpu"))
    ranged = Detector(TorchScorer(Difference(), CARD, device="cpu"))
    expected = plain.predict(before, after).score
    for gsd_m in (None, 0.5, 1.0, 2.0):
        np.testing.assert_array_equal(ranged.predict(before, after, gsd_m=gsd_m).score, expected)
    assert (ranged.predict(before, after, gsd_m=4.0).score != expected).any()


@pytest.mark.parametrize("gsd_m", [0.01, 0.31, 3.3, 8.0])
def test_attention_sees_tiles_of_its_training_however_long_the_pixels_are(gsd_m: float):
    model = Difference(fixed_tile=True)
    detector = Detector(TorchScorer(model, CARD, device="cpu"))
    assert detector.predict(*squares(50, 90), gsd_m=gsd_m).score.shape == (50, 90)
    assert {shape[2:] for shape in model.shapes} == {(64, 64)}


def test_the_chosen_kind_has_its_own_score_threshold_and_temperature():
    model = TwoKinds()
    card = replace(CARD, kinds=KINDS, threshold=0.5)
    before, after = squares(64, 64)
    changed = np.float32(200 / 255)
    detector = Detector(TorchScorer(model, card, device="cpu", kind="building"))
    building = detector.predict(before, after)
    assert (building.threshold, detector.kind) == (0.25, "building")
    assert building.score.max() == pytest.approx(changed / 2)
    anything = detector.for_kind("any").predict(before, after)
    assert anything.threshold == 0.5
    # Guo et al.: the logit is divided; equal dates score exactly 0 still.
    logit = np.log(changed / (1 - changed))
    assert anything.score.max() == pytest.approx(1 / (1 + np.exp(-logit / 2)), rel=1e-5)
    assert anything.score.min() == 0.0
    assert detector.kind == "building"


def test_a_kind_that_a_model_does_not_know_is_refused():
    scorer = TorchScorer(TwoKinds(), replace(CARD, kinds=KINDS), device="cpu")
    with pytest.raises(ConfigError, match="does not know the kind of change 'road'"):
        Detector(scorer).for_kind("road")
    with pytest.raises(ConfigError, match="finds one kind of change"):
        TorchScorer(Difference(), CARD, device="cpu", kind="building")


def test_a_model_file_of_several_kinds_gives_each_of_them(tmp_path: Path):
    path = write_kinds_model(tmp_path / "kinds.safetensors", working_gsd_m=(0.5, 1.0))
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    scores = {}
    for kind, threshold in ((None, 0.1), ("building", 0.2), ("cropland", 0.3)):
        detector = load(path, device="cpu", kind=kind)
        prediction = detector.predict(before, after, gsd_m=2.0)
        assert prediction.threshold == threshold
        assert prediction.score.shape == (96, 96)
        scores[detector.kind] = prediction.score
    assert set(scores) == {"any", "building", "cropland"}
    assert not np.array_equal(scores["any"], scores["building"])
    again = detector.for_kind("building").predict(before, after, gsd_m=2.0).score
    np.testing.assert_array_equal(again, scores["building"])
