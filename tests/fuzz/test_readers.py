"""A short run of ``make fuzz``: every reader on some inputs, in this process."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.engine import Tally, run, try_input
from fuzz.mutation import damage_bytes, damage_text, damage_tree, dump_tree
from fuzz.readers import READERS

_EXAMPLES = 25


# rasterio logs what GDAL says, which need not be UTF-8.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])
def test_damaged_inputs_are_read_or_refused_in_one_line(reader, tmp_path):
    reader.prepare(tmp_path / "valid")

    @settings(
        max_examples=_EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.integers(0, 2**32))
    def try_one(seed):
        try_input(reader, seed, tmp_path / str(seed))

    try_one()


class _Fake:
    """A reader that does with each input what its number says."""

    name = "fake"
    needs_torch = False
    refusals = (LookupError,)

    def prepare(self, folder):
        pass

    def write(self, random, folder):
        return random.randrange(4)

    def read(self, source):
        if source == 0:
            raise LookupError("no")
        if source == 1:
            raise OSError("a bug")
        if source == 2:
            raise LookupError("x" * 3000)


def test_a_run_counts_what_is_read_and_refused_and_keeps_what_fails(tmp_path):
    tally = Tally()
    faults = run(_Fake(), tally, count=40, until=float("inf"), failures=tmp_path)
    assert tally.next_seed == 40
    assert tally.read + tally.refused + tally.faults == 40
    assert min(tally.read, tally.refused, tally.faults) > 0
    kinds = {fault.what.strip().splitlines()[-1][:29] for fault in faults}
    assert kinds == {"OSError: a bug", "AssertionError: a message of "}
    assert len(list((tmp_path / "fake").iterdir())) == len(faults)


class _Greedy(_Fake):
    name = "greedy"

    def read(self, source):
        bytearray(6 * 2**30)


def test_an_input_that_takes_too_much_memory_is_a_finding(tmp_path):
    faults = run(_Greedy(), Tally(), count=1, until=float("inf"), failures=tmp_path)
    assert [fault.what.strip().splitlines()[-1] for fault in faults] == ["MemoryError"]


class _Slow(_Fake):
    name = "slow"

    def read(self, source):
        while True:
            pass


def test_an_input_that_takes_too_long_is_a_finding_and_the_next_one_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("fuzz.engine.SECONDS", 0.2)
    tally = Tally()
    faults = run(_Slow(), tally, count=2, until=float("inf"), failures=tmp_path)
    assert [fault.what for fault in faults] == ["took more than 0.2 seconds"] * 2
    assert tally.next_seed == 2


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None, database=None)
def test_damage_follows_from_the_random_source_alone(seed):
    from random import Random

    tree = {"a": [1, {"b": "c"}], "d": None}
    for damage, valid in ((damage_bytes, b"abc" * 50), (damage_text, "a: 1\nb: c d\n")):
        assert damage(Random(seed), valid) == damage(Random(seed), valid)
    first, second = (dump_tree(damage_tree(Random(seed), tree)) for _ in range(2))
    assert first == second
