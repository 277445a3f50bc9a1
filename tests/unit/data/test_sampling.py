import pytest

from changedet.data.training.sampling import EpochSampler, SampleKey
from changedet.errors import ConfigError, DataError


def test_an_epoch_visits_every_sample_once():
    sampler = EpochSampler(17, seed=3)
    sampler.set_epoch(2)
    assert sorted(key.index for key in sampler) == list(range(17))
    assert {key.epoch for key in sampler} == {2}


def test_the_order_depends_on_seed_and_epoch_alone():
    first, second = EpochSampler(50, seed=3), EpochSampler(50, seed=3)
    list(first)
    first.set_epoch(4)
    second.set_epoch(4)
    assert list(first) == list(second)
    second.set_epoch(5)
    assert [key.index for key in first] != [key.index for key in second]
    other = EpochSampler(50, seed=4)
    other.set_epoch(4)
    assert list(first) != list(other)


@pytest.mark.parametrize("start", [0, 1, 9, 20])
def test_starting_late_gives_the_tail_of_the_same_order(start):
    sampler = EpochSampler(20, seed=0)
    sampler.set_epoch(7)
    whole = list(sampler)
    sampler.set_epoch(7, start=start)
    assert list(sampler) == whole[start:]
    assert len(sampler) == 20 - start


def test_the_next_epoch_starts_at_its_front_again():
    sampler = EpochSampler(5, seed=0)
    sampler.set_epoch(0, start=3)
    sampler.set_epoch(1)
    assert len(list(sampler)) == 5


def test_keys_are_plain_integers():
    key = next(iter(EpochSampler(3, seed=0)))
    assert isinstance(key, SampleKey)
    assert type(key.index) is int


def test_bad_input_is_named():
    with pytest.raises(DataError, match="at least one pair"):
        EpochSampler(0, seed=0)
    with pytest.raises(ConfigError, match="seed"):
        EpochSampler(1, seed=-1)
    sampler = EpochSampler(4, seed=0)
    with pytest.raises(ConfigError, match="epoch"):
        sampler.set_epoch(-1)
    with pytest.raises(ConfigError, match=r"start must be in \[0, 4\].*got 5"):
        sampler.set_epoch(0, start=5)
