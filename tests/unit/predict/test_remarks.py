from changedet.predict.remarks import (
    Remarks,
    note,
    remarks_on_alignment,
    remarks_on_reading,
    warning,
    warnings_of,
)
from changedet.raster.align import Coverage
from changedet.raster.facts import PairFacts
from changedet.raster.shift import ShiftEstimate


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
    coverage = Coverage(1.0, 1.0)

    def found(coregister: str) -> tuple[str, ...]:
        said = remarks_on_alignment(coverage, (10, 10), shift, coregister=coregister)
        return warnings_of(said)

    assert "5.0 px apart" in found("off")[0]
    assert found("global") == ()
