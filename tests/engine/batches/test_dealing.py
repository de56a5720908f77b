"""How batches are dealt out: every row to one process, in parts that differ by one row at most."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, RandomSampler, TensorDataset

from torchkeras_fn.engine.batches.dealing import Dealt, dealt, dealt_loader, first_rows, in_turn, is_repeat, own_rows, part_of, rows_in


def test_rows_of_an_object_cannot_be_left_out():
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(2, 1), torch.ones(1, 1)])
    with pytest.raises(ValueError, match="in a PackedSequence cannot be left out.*drop_last=True"):
        first_rows((packed, torch.ones(2), None), 1)


def processes(count):
    return [SimpleNamespace(rank=rank, count=count, is_first=True, from_first=lambda value: value) for rank in range(count)]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("samples", range(1, 13))
def test_parts_of_a_batch(count, samples):
    for rows in (torch.arange(5, 5 + samples), slice(0, 99)):
        parts = [part_of(rows, samples, own) for own in processes(count)]
        sizes = [rows_in(samples, own) for own in processes(count)]
        given = [torch.arange(samples)[part].tolist() if isinstance(rows, slice) else part.tolist() for part in parts]
        first = 0 if isinstance(rows, slice) else 5
        assert sum((part[:size] for part, size in zip(given, sizes, strict=True)), []) == list(range(first, first + samples))
        assert max(sizes) - min(sizes) <= 1 and sizes[0] == max(sizes)
        assert all(len(part) == size or (size == 0 and part == given[0]) for part, size in zip(given, sizes, strict=True))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("items", range(1, 8))
def test_items_in_turn(count, items):
    given = [dealt(range(items), own) for own in processes(count)]
    assert {len(part) for part in given} == {-(-items // count)}
    kept = [
        [item for place, item in enumerate(part) if not is_repeat(place, items, own)]
        for part, own in zip(given, processes(count), strict=True)
    ]
    assert list(in_turn(kept)) == list(range(items))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


class Endless:
    def __iter__(self):
        while True:
            yield [0]


def test_which_loaders_are_dealt_out():
    own, data = processes(2)[1], TensorDataset(torch.arange(5.0))
    ordinary = dealt_loader(DataLoader(data, batch_size=2, drop_last=True, collate_fn=len), own)
    assert isinstance(ordinary.batch_sampler, Dealt) and list(ordinary.batch_sampler) == [[2, 3]] and ordinary.collate_fn is len
    one_by_one = dealt_loader(DataLoader(data, batch_size=None, sampler=RandomSampler(data)), own)
    assert isinstance(one_by_one.sampler, Dealt) and len(one_by_one) == 3
    distributed = DataLoader(data, sampler=DistributedSampler(data, 2, 1))
    by_hand = DataLoader(data, batch_sampler=BatchSampler(DistributedSampler(data, 2, 1), 2, False))
    for loader in (DataLoader(Stream()), DataLoader(data, batch_sampler=Endless()), distributed, by_hand, [1, 2]):
        assert dealt_loader(loader, own) is loader
    assert [list(batch) for batch in dealt_loader(distributed, own, in_order=True).batch_sampler] == [[1], [3], [0]]


@pytest.mark.parametrize(("samples", "drops", "wanted"), [(5, False, [3, 2]), (5, True, [2, 2]), (1, False, [1, 0]), (4, False, [2, 2])])
def test_rows_of_a_distributed_sampler_that_are_no_repeats(samples, drops, wanted):
    data = TensorDataset(torch.arange(float(samples)))
    assert [own_rows(DistributedSampler(data, 2, rank, drop_last=drops)) for rank in range(2)] == wanted
