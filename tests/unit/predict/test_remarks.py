from typing import Literal

import pytest

from changedet.predict.registration import Correction
from changedet.predict.remarks import (
    Remarks,
    note,
    remarks_on_correction,
    remarks_on_reading,
    remarks_on_shift,
    warning,
    warnings_of,
)
from changedet.raster.facts import PairFacts
from changedet.raster.shift_estimate import ShiftEstimate


def test_remarks_are_told_once_and_kept_with_what_they_are_about():
    heard: list[str] = []
    remarks = Remarks(heard.append)
    remarks.add(note("place", "one"), warning("values", "two"), note("place", "one"))
    remarks.tell("warning: three", topic="model")
    remarks.tell("four")
    assert heard == ["one", "warning: two", "warning: three", "four"]
    assert remarks.notes == tuple(heard)
    assert remarks.told[2] == warning("model", "three")
    assert remarks.told[3] == note("run", "four")
    assert warnings_of(remarks.told) == ("two", "three")


def test_an_ordinary_pair_has_nothing_to_remark():
    assert list(remarks_on_reading(PairFacts("b.tif", "a.tif"))) == []


def test_a_large_shift_is_a_warning_unless_it_is_corrected():
    shift = ShiftEstimate(3.0, 4.0, spread_px=0.1, tiles_used=9, tiles_tried=9)

    def found(coregister: Literal["off", "global"], coarsest_px: float = 1.0) -> tuple[str, ...]:
        return warnings_of(remarks_on_shift(shift, coregister=coregister, coarsest_px=coarsest_px))

    assert "5.0 px apart" in found("off")[0]
    assert found("global") == ()
    # Less than a pixel of the coarser date.
    assert found("off", coarsest_px=6.0) == ()


@pytest.mark.parametrize(
    ("correction", "severity", "words"),
    [
        (Correction(), None, ""),
        (Correction((3.0, 4.0), ShiftEstimate(0.06, 0.08, 0.1, 9, 9)), "note", "0.10 px are left"),
        (Correction(refusal="unknown"), "warning", "could not be measured"),
        (Correction(refusal="small"), "note", "resampling would cost more"),
        (Correction(refusal="uncertain"), "warning", "error of its measurement"),
        (Correction(refusal="worse"), "warning", "too few tiles agree"),
        (
            Correction(remaining=ShiftEstimate(6, 8, 0.1, 9, 9), refusal="worse"),
            "warning",
            "no closer (10.00 px)",
        ),
    ],
)
def test_it_is_said_what_became_of_a_correction(
    correction: Correction, severity: str | None, words: str
):
    told = list(remarks_on_correction(correction))
    assert [remark.severity for remark in told] == ([] if severity is None else [severity])
    assert all(words in remark.text for remark in told)
