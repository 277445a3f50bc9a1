"""Kinds of change: their names, and what a card says of each."""

from dataclasses import replace

import pytest

from changedet.card import ModelCard
from changedet.domain import Domain
from changedet.errors import ConfigError
from changedet.kinds import KindOfChange, check_kinds
from changedet.selection import Selection
from changedet.types import Normalisation

CHOSEN = Selection("user")
CARD = ModelCard(
    architecture="siamese_pyramid",
    options={},
    normalisation=Normalisation((0.0,), (0.0,), (1.0,), (1.0,)),
    threshold=0.5,
    kinds=(KindOfChange("any", 0.5), KindOfChange("building", 0.3, CHOSEN, 1.4)),
)


def test_a_card_gives_the_threshold_of_the_kind_that_is_chosen():
    assert CARD.for_kind("building").threshold == 0.3
    assert CARD.for_kind("building").threshold_selection == CHOSEN
    assert CARD.for_kind(None).threshold == CARD.for_kind("any").threshold == 0.5
    assert (CARD.kind_index(None), CARD.kind_index("building")) == (0, 1)


def test_an_unknown_kind_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match=r"'buildings'; did you mean 'building'"):
        CARD.for_kind("buildings")


def test_a_model_of_one_kind_without_a_name_takes_none():
    card = replace(CARD, kinds=(), domain=Domain(change="cropland change"))
    assert card.for_kind(None) is card
    with pytest.raises(ConfigError, match=r"one kind of change \(cropland change\).*remove `kind`"):
        card.for_kind("cropland")


def test_a_card_without_kinds_is_stored_as_before():
    assert not {"kinds", "working_gsd_m"} & replace(CARD, kinds=()).to_dict().keys()
    stored = CARD.to_dict()["kinds"][1]
    assert stored == {
        "name": "building",
        "threshold": 0.3,
        "threshold_selection": {"kind": "user"},
        "temperature": 1.4,
    }


@pytest.mark.parametrize(
    "fault",
    [
        {"kinds": (KindOfChange("any"), KindOfChange("any"))},
        {"working_gsd_m": (2.0, 1.0)},
        {"working_gsd_m": (0.0, 1.0)},
        {"working_gsd_m": (1.0, float("nan"))},
    ],
)
def test_a_card_that_contradicts_itself_is_refused(fault):
    with pytest.raises(ConfigError):
        replace(CARD, **fault)


@pytest.mark.parametrize("names", [(), ("Any",), ("any", "any"), ("a b",), ("x" * 41,)])
def test_names_that_no_kinds_can_have(names):
    with pytest.raises(ConfigError):
        check_kinds(names)


@pytest.mark.parametrize("fault", [{"threshold": 1.5}, {"temperature": 0.0}])
def test_numbers_that_no_kind_can_have(fault):
    with pytest.raises(ConfigError):
        KindOfChange("any", **fault)
