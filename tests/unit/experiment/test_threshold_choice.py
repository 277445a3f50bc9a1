from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from changedet.data.file_pair import PairPaths
from changedet.data.index import PairIndex
from changedet.data.scenes.record import Seen
from changedet.errors import DataError
from changedet.experiment.threshold_choice import (
    chosen_on_split,
    given_by_hand,
    own_threshold,
    threshold_note,
)
from changedet.metrics.histogram import ScoreCounter, ScoreHistogram
from changedet.models.model_file import ModelCard
from changedet.types import SEED_NORMALISATION

CARD = ModelCard(
    "dasnet_v2",
    {},
    SEED_NORMALISATION,
    threshold=0.3,
    threshold_source="max-F1 on split 'val' of TOWN (2 images), epoch 3, batch 4",
    data_name="TOWN",
    recipe={"data": {"train_split": "train"}},
)
MODEL = SimpleNamespace(card=CARD, threshold=0.3, threshold_source=CARD.threshold_source)
FLOOR = SimpleNamespace(card=None, threshold=0.5, threshold_source="Otsu of each image")


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


def test_what_chose_the_stored_threshold_no_longer_counts_when_another_split_chooses():
    choice = chosen_on_split(counted(), INDEX, "test")
    assert threshold_note(choice, MODEL, INDEX, split="val", seen=None) is None


def test_training_and_choosing_on_the_reported_split_are_both_said():
    choice = chosen_on_split(counted(), INDEX, "train")
    note = threshold_note(choice, MODEL, INDEX, split="train", seen=None)
    assert note == "selection set, optimistic; training set, optimistic"


def test_blocks_that_were_trained_on_count_and_those_that_chose_before_do_not():
    choice = chosen_on_split(counted(), INDEX, "val")
    seen = Seen(blocks=5, trained_on=2, too_close=0, chosen_on=3, gap_px=8)
    note = threshold_note(choice, MODEL, INDEX, split="test", seen=seen)
    assert note == "2 of 5 blocks were trained on; optimistic"


def test_a_threshold_that_was_there_before_keeps_its_own_note():
    own = own_threshold(MODEL)
    assert (own.value, own.source) == (0.3, CARD.threshold_source)
    assert threshold_note(own, MODEL, INDEX, split="val", seen=None) == "selection set, optimistic"
    assert threshold_note(own, MODEL, INDEX, split="test", seen=None) is None
    hand = given_by_hand(0.4)
    assert (hand.value, hand.source) == (0.4, "given by hand")
    assert threshold_note(hand, MODEL, INDEX, split="val", seen=None) is None
    otsu = own_threshold(FLOOR)
    assert (otsu.value, otsu.source) == (0.5, "Otsu of each image")
    assert threshold_note(otsu, FLOOR, INDEX, split="val", seen=None) is None


def test_scores_at_the_chosen_threshold_are_counted_exactly():
    histogram = counted()
    choice = chosen_on_split(histogram, INDEX, "val")
    assert np.isin(np.float32(choice.value), histogram.edges)
