from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from changedet.card import CALIBRATION, ModelCard
from changedet.data.index import PairIndex
from changedet.data.pair import PairPaths
from changedet.data.rasters.provenance import Seen
from changedet.errors import DataError
from changedet.evaluation.threshold import (
    ThresholdChoice,
    chosen_on_split,
    given_by_hand,
    own_threshold,
    threshold_note,
)
from changedet.metrics.counter import ScoreCounter
from changedet.metrics.histogram import ScoreHistogram
from changedet.selection import Selection
from changedet.types import CDD_NORMALISATION, TestTime

BEST = Selection("training", data="TOWN", split="val", images=2, epoch=3, batch=4)
CARD = ModelCard(
    "dasnet_v2",
    {},
    CDD_NORMALISATION,
    threshold=0.3,
    threshold_selection=BEST,
    weights_selection=(BEST,),
    data_name="TOWN",
    recipe={"data": {"train_split": "train", "val_split": "val"}},
)
# Only the record tells, not the recipe.
BARE = replace(CARD, recipe={"data": {"train_split": "train"}})
ELSEWHERE = Selection(
    "calibration",
    data="TOWN",
    split="test",
    images=2,
    mode="whole",
    test_time="none",
    precision="float32",
)
CALIBRATED = replace(CARD, threshold_selection=ELSEWHERE, metrics={CALIBRATION: {"f1": 0.5}})


def source_of(card: ModelCard, *, test_time: TestTime = "none") -> SimpleNamespace:
    detector = SimpleNamespace(card=card, threshold=card.threshold, test_time=test_time)
    return SimpleNamespace(card=card, detector=detector)


MODEL = source_of(CARD)
FLOOR = SimpleNamespace(
    card=None,
    detector=SimpleNamespace(
        card=SimpleNamespace(threshold_selection=Selection("otsu")),
        threshold=0.5,
        test_time="none",
    ),
)


def pair(name: str) -> PairPaths:
    return PairPaths(name, Path("A", name), Path("B", name), Path("label", name))


INDEX = PairIndex(
    root=Path("TOWN"),
    layout="lists",
    name="TOWN",
    splits={
        "train": (pair("1"), pair("2")),
        "val": (pair("3"), pair("4")),
        "test": (pair("5"), pair("6")),
        "mixed": (pair("4"), pair("5"), pair("6")),
    },
)


def counted(changed: int = 1) -> ScoreHistogram:
    counter = ScoreCounter()
    score = torch.tensor([[[0.1, 0.2, 0.6, 0.7]]])
    counter.update(score, torch.tensor([[[0, 0, changed, changed]]], dtype=torch.uint8))
    return counter.compute()


def test_the_best_threshold_of_a_split_is_chosen_and_its_origin_said():
    choice = chosen_on_split(counted(), INDEX, "val")
    assert 0.2 < choice.value <= 0.6
    assert choice.source == "max-F1 on split 'val' of TOWN (1 image)"
    assert choice.split == "val"
    several = counted().merge(counted())
    assert chosen_on_split(several, INDEX, "val").source.endswith("(2 images)")


def test_a_split_without_change_chooses_nothing():
    with pytest.raises(DataError, match=r"split 'val' of TOWN: no pixel of the 1 images"):
        chosen_on_split(counted(changed=0), INDEX, "val")


@pytest.mark.parametrize(
    ("source", "split", "note"),
    [
        (FLOOR, "test", None),
        (FLOOR, "val", "selection set, optimistic"),
        (FLOOR, "mixed", "1 of 3 pairs chose the threshold; optimistic"),
        (MODEL, "test", None),
        (MODEL, "val", "selection set, optimistic"),
        (MODEL, "train", "training set, optimistic"),
    ],
)
def test_figures_of_pairs_that_chose_the_threshold_are_optimistic(source, split, note):
    choice = chosen_on_split(counted(), INDEX, "val")
    assert threshold_note(choice, source, INDEX, split=split, seen=None) == note


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        BARE,
        CALIBRATED,
        # Calibrated before the choice of the weights was kept: the recipe tells.
        replace(CALIBRATED, weights_selection=()),
    ],
    ids=["new", "by the record alone", "calibrated", "calibrated long ago"],
)
@pytest.mark.parametrize(
    "choice",
    [own_threshold(MODEL), given_by_hand(0.4), chosen_on_split(counted(), INDEX, "test")],
    ids=["own", "by hand", "other split"],
)
def test_images_that_chose_the_weights_are_optimistic_whoever_gives_the_threshold(card, choice):
    note = threshold_note(choice, source_of(card), INDEX, split="val", seen=None)
    assert note == "selection set, optimistic"


def test_images_that_calibrated_count_only_for_the_threshold_that_they_chose():
    source = source_of(CALIBRATED)

    def note(choice: ThresholdChoice) -> str | None:
        return threshold_note(choice, source, INDEX, split="test", seen=None)

    assert note(own_threshold(source)) == "selection set, optimistic"
    assert note(given_by_hand(0.4)) is None
    assert note(chosen_on_split(counted(), INDEX, "val")) is None


def test_other_views_than_those_of_the_stored_threshold_are_said():
    turned = source_of(CARD, test_time="turns")

    def note(choice: ThresholdChoice, *, split: str = "test") -> str | None:
        return threshold_note(choice, turned, INDEX, split=split, seen=None)

    sentence = "the threshold was chosen for test-time augmentation none, but turns is used"
    assert note(own_threshold(turned)) == sentence
    assert note(own_threshold(turned), split="val") == f"selection set, optimistic; {sentence}"
    assert note(given_by_hand(0.4)) is None
    assert note(chosen_on_split(counted(), INDEX, "val")) is None
    bare = source_of(replace(CARD, threshold=None), test_time="turns")
    assert threshold_note(own_threshold(bare), bare, INDEX, split="test", seen=None) is None


def test_training_and_choosing_on_the_reported_split_are_both_said():
    choice = chosen_on_split(counted(), INDEX, "train")
    note = threshold_note(choice, MODEL, INDEX, split="train", seen=None)
    assert note == "selection set, optimistic; training set, optimistic"


@pytest.mark.parametrize(
    ("trained_on", "chosen_on", "note"),
    [
        (
            2,
            3,
            "2 of 5 blocks were trained on; 3 of 5 blocks chose the model or its threshold; "
            "optimistic",
        ),
        (2, 0, "2 of 5 blocks were trained on; optimistic"),
        (5, 3, "training set, optimistic"),
        (0, 5, "selection set, optimistic"),
        (0, 0, None),
    ],
)
def test_blocks_that_were_trained_on_or_chose_the_weights_count(trained_on, chosen_on, note):
    choice = chosen_on_split(counted(), INDEX, "val")
    seen = Seen(blocks=5, trained_on=trained_on, too_close=0, chosen_on=chosen_on, gap_px=8)
    assert threshold_note(choice, MODEL, INDEX, split="test", seen=seen) == note


def test_a_threshold_that_was_there_before_keeps_its_own_note():
    own = own_threshold(MODEL)
    assert (own.value, own.source) == (0.3, CARD.threshold_source)
    assert threshold_note(own, MODEL, INDEX, split="val", seen=None) == "selection set, optimistic"
    assert threshold_note(own, MODEL, INDEX, split="test", seen=None) is None
    hand = given_by_hand(0.4)
    assert (hand.value, hand.source) == (0.4, "set by the user")
    assert threshold_note(hand, MODEL, INDEX, split="test", seen=None) is None
    otsu = own_threshold(FLOOR)
    assert (otsu.value, otsu.source) == (0.5, "Otsu of each image")
    assert threshold_note(otsu, FLOOR, INDEX, split="val", seen=None) is None


def test_scores_at_the_chosen_threshold_are_counted_exactly():
    histogram = counted()
    choice = chosen_on_split(histogram, INDEX, "val")
    assert np.isin(np.float32(choice.value), histogram.edges)
