import pytest

from changedet.data.training.sampling import EpochBatches, EpochSampler, SampleKey
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


def batches_of(rank, world, *, length=23, batch_size=6, epoch=3, start=0):
    batches = EpochBatches(length, batch_size=batch_size, seed=5, rank=rank, world=world)
    batches.set_epoch(epoch, start=start)
    return [[key.index for key in batch] for batch in batches]


def test_the_batches_of_one_process_are_the_order_of_the_epoch():
    sampler = EpochSampler(23, seed=5)
    sampler.set_epoch(3)
    batches = batches_of(0, 1)
    assert [len(batch) for batch in batches] == [6, 6, 6, 5]
    assert [index for batch in batches for index in batch] == [key.index for key in sampler]


@pytest.mark.parametrize("world", [2, 3, 4, 6])
def test_processes_part_every_batch_among_them_and_drop_nothing(world):
    shares = [batches_of(rank, world) for rank in range(world)]
    sampler = [EpochBatches(23, batch_size=6, seed=5, rank=r, world=world) for r in range(world)]
    for number, whole in enumerate(batches_of(0, 1)):
        sizes = [one.own_size(number) for one in sampler]
        assert sum(sizes) == sampler[0].size(number) == len(whole)
        assert max(sizes) - min(sizes) <= 1
        drawn = [share[number] for share, size in zip(shares, sizes, strict=True) if size]
        assert sorted(index for own in drawn for index in own) == sorted(whole)


def test_a_process_without_a_share_of_the_last_batch_keeps_step_with_its_first_sample():
    whole = batches_of(0, 1, length=13)
    assert len(whole[-1]) == 1
    for rank in (1, 2):
        assert batches_of(rank, 3, length=13)[-1] == whole[-1]
        batches = EpochBatches(13, batch_size=6, seed=5, rank=rank, world=3)
        assert (batches.own_size(2), batches.size(2)) == (0, 1)


def test_a_process_goes_on_with_a_batch_whatever_the_number_of_processes_before():
    assert batches_of(1, 4, start=2) == batches_of(1, 4)[2:]
    batches = EpochBatches(23, batch_size=6, seed=5)
    assert len(batches) == 4
    with pytest.raises(ConfigError, match=r"start must be in \[0, 4\]"):
        batches.set_epoch(1, start=5)


def test_an_impossible_rank_is_named():
    with pytest.raises(ConfigError, match=r"rank must be in \[0, 2\)"):
        EpochBatches(5, batch_size=2, seed=0, rank=2, world=2)
    with pytest.raises(ConfigError, match="batch_size must be at least 4, the number of proc"):
        EpochBatches(30, batch_size=3, seed=0, rank=0, world=4)
