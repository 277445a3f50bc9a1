import numpy as np
import pytest

from changedet.raster.pixel_rules import Linear
from changedet.raster.units import (
    Conversion,
    DeclaredUnits,
    UnitSample,
    higher_by_baseline_offset,
    settle_units,
)

NONE = DeclaredUnits((Linear(),) * 2, is_declared=False)


def declared(factor: float, offset: float) -> DeclaredUnits:
    return DeclaredUnits((Linear(factor, offset),) * 2, is_declared=True)


def sample(
    units: DeclaredUnits, *, low: float = 200, high: float = 4000, dtype: str = "uint16"
) -> UnitSample:
    values = np.random.default_rng(0).uniform(low, high, (500, 2)).astype(np.float32)
    return UnitSample(units, dtype, values)


def settled(
    before: UnitSample, after: UnitSample, *, pixel_type: str = "uint16"
) -> Conversion | None:
    return settle_units(before, after, pixel_type=pixel_type)


def test_values_stay_as_they_are_stored_where_both_dates_declare_the_same():
    for units in (NONE, declared(0.0001, 0.0), declared(0.0001, -0.1)):
        assert settled(sample(units), sample(units)) is None


def test_the_date_with_the_offset_is_brought_to_the_one_without():
    old, new = sample(declared(0.0001, 0.0)), sample(declared(0.0001, -0.1))
    forwards, backwards = settled(old, new), settled(new, old)
    assert forwards is not None
    assert backwards is not None
    assert (forwards.outcome, forwards.converted) == ("converted", "after")
    assert (backwards.outcome, backwards.converted) == ("converted", "before")
    for found in (forwards, backwards):
        for unit in found.units:
            assert unit.factor == pytest.approx(1.0)
            assert unit.offset == pytest.approx(-1000.0)


def test_an_offset_alone_counts_where_the_other_date_declares_nothing():
    found = settled(sample(NONE), sample(declared(1.0, -1000.0)))
    assert found == Conversion("converted", "after", (Linear(1.0, -1000.0),) * 2)


def test_the_date_whose_type_is_the_models_stays_as_it_is():
    deep = sample(declared(0.0001, -0.1))
    real = sample(declared(1.0, 0.0), low=0.0, high=0.4, dtype="float32")
    by_depth, by_value = settled(real, deep), settled(real, deep, pixel_type="float32")
    assert by_depth is not None
    assert by_value is not None
    assert by_depth.converted == "before"
    assert by_depth.units[0].factor == pytest.approx(10_000)
    assert by_depth.units[0].offset == pytest.approx(1000)
    assert by_value.converted == "after"


def test_reflectance_that_declares_nothing_is_known_by_its_values():
    real = sample(NONE, low=0.0, high=0.4, dtype="float32")
    found = settled(real, sample(declared(0.0001, 0.0)))
    assert found == Conversion("converted", "after", (Linear(0.0001, 0.0),) * 2)


def test_an_offset_that_one_date_lacks_is_known_by_its_darkest_values():
    new = sample(declared(0.0001, -0.1), low=1100, high=5000)
    assumed = settled(sample(NONE, low=150), new)
    assert assumed is not None
    assert assumed.outcome == "assumed"
    assert assumed.units[0].factor == 1.0
    assert assumed.units[0].offset == pytest.approx(-1000.0)
    contained = settled(sample(NONE, low=1150, high=5000), new)
    assert contained == Conversion("unclear", "after")


def test_8_bit_beside_a_declared_unit_is_left_alone():
    found = settled(sample(NONE, low=0, high=255, dtype="uint8"), sample(declared(0.0001, 0.0)))
    assert found == Conversion("unclear", "after")


def test_an_offset_that_nothing_declares_is_seen_in_all_bands_alike():
    rng = np.random.default_rng(0)
    old = rng.uniform(200, 3000, (5000, 3)).astype(np.float32)
    new = old + 1000 + rng.normal(0, 50, old.shape).astype(np.float32)
    assert higher_by_baseline_offset(old, new) == "after"
    assert higher_by_baseline_offset(new, old) == "before"
    assert higher_by_baseline_offset(old, old * 1.3) is None
    one_band = old.copy()
    one_band[:, 0] += 1000
    assert higher_by_baseline_offset(old, one_band) is None
