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


def epoch_of(rank, world, *, length=23, epoch=3, start=0):
    sampler = EpochSampler(length, seed=5, rank=rank, world=world)
    sampler.set_epoch(epoch, start=start)
    return [key.index for key in sampler]


@pytest.mark.parametrize("world", [1, 2, 4, 23])
def test_processes_part_the_epoch_among_them_and_drop_less_than_one_sample_each(world):
    shares = [epoch_of(rank, world) for rank in range(world)]
    assert {len(share) for share in shares} == {23 // world}
    drawn = [index for share in shares for index in share]
    assert len(set(drawn)) == len(drawn) == 23 // world * world
    assert set(drawn) <= set(range(23))


def test_other_samples_are_dropped_in_another_epoch():
    dropped = [
        set(range(23)) - {i for rank in range(4) for i in epoch_of(rank, 4, epoch=epoch)}
        for epoch in range(4)
    ]
    assert len({frozenset(indices) for indices in dropped}) > 1


def test_batches_of_two_processes_make_up_the_batch_of_one():
    single, size = epoch_of(0, 1), 3
    shares = [epoch_of(rank, 2) for rank in range(2)]
    for first in range(0, 9, size):
        together = {i for share in shares for i in share[first : first + size]}
        assert together == set(single[2 * first : 2 * (first + size)])


def test_a_process_goes_on_within_its_own_share():
    assert epoch_of(1, 4, start=2) == epoch_of(1, 4)[2:]
    with pytest.raises(ConfigError, match=r"start must be in \[0, 5\]"):
        epoch_of(1, 4, start=6)


def test_an_impossible_rank_is_named():
    with pytest.raises(ConfigError, match=r"rank must be in \[0, 2\)"):
        EpochSampler(5, seed=0, rank=2, world=2)
    with pytest.raises(DataError, match="4 processes need at least as many pairs, got 3"):
        EpochSampler(3, seed=0, rank=0, world=4)
