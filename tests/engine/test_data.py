"""The border: what a user passes becomes batches of tensors, in the order that `shuffle` asks for."""

from collections import UserList

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchkeras_fn.engine.batches.weighting import ClassWeights
from torchkeras_fn.engine.batches.workers import Loading
from torchkeras_fn.engine.data import (
    ArraySource,
    FedSource,
    Gather,
    Signature,
    arrays_of,
    batch_of,
    check_batch_size,
    check_count,
    is_batches,
    open_batches,
    unpack,
)
from torchkeras_fn.utils import Sequence

NUMBERS = np.arange(10)


class Rows:
    """An array-like of row numbers that notes every read."""

    def __init__(self, count=10):
        self.shape, self.reads = (count,), []

    def __getitem__(self, rows):
        found = np.arange(self.shape[0])[rows]
        self.reads.append(found.tolist())
        return found


def passes(shuffle, size=3, count=1, rows=NUMBERS):
    source = ArraySource(arrays_of(rows, None, None, Signature()), size, shuffle, Signature())
    return [[x.tolist() for x, _, _ in source.one_pass()] for _ in range(count)]


def test_without_shuffle_batches_are_neighbours_and_the_last_is_short():
    assert passes(False) == [[[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]]


def test_shuffle_uses_every_row_once_in_an_order_of_its_own_each_time():
    first, second = passes(True, count=2)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(10)) and first != second
    assert [len(batch) for batch in first] == [3, 3, 3, 1]


def test_rows_are_shuffled_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        for rows in (NUMBERS, Rows()):
            assert sorted(sum(passes(True, rows=rows)[0], [])) == list(range(10))


def test_shuffle_repeats_with_the_seed(seed):
    first = passes(True)
    torch.manual_seed(seed)
    assert passes(True) == first


def test_batch_shuffle_moves_whole_batches_and_leaves_the_short_one_last():
    found = passes("batch", count=8)
    assert all(sorted(batches[:3]) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]] and batches[3] == [9] for batches in found)
    assert len({str(batches) for batches in found}) > 1


def test_batch_shuffle_moves_the_last_batch_too_where_it_is_full():
    assert len({batches[-1][0] for batches in passes("batch", size=5, count=20)}) == 2


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_a_pass_reads_every_row_once_a_batch_at_a_time(shuffle):
    rows = Rows()
    source = ArraySource(arrays_of(rows, None, None, Signature()), 3, shuffle, Signature())
    rows.reads.clear()
    list(source.one_pass())
    assert [len(read) for read in rows.reads] == [3, 3, 3, 1] and sorted(sum(rows.reads, [])) == list(range(10))


def test_a_batch_is_read_when_it_is_its_turn():
    rows = Rows()
    batches = ArraySource(arrays_of(rows, None, None, Signature()), 3, True, Signature()).one_pass()
    rows.reads.clear()
    next(batches)
    assert len(rows.reads) == 1


@pytest.mark.parametrize(
    ("array", "dtype", "expected"),
    [
        (np.ones((2, 1)), None, torch.float32),
        (np.ones((2, 1), "float16"), None, torch.float32),
        (np.ones((2, 1), "int32"), None, torch.int32),
        (np.ones((2, 1), "uint8"), torch.float32, torch.float32),
        (np.ones((2, 1), "bool"), torch.float32, torch.float32),
        (np.ones((2, 1)), torch.int64, torch.int64),
    ],
)
def test_inputs_are_cast_to_what_the_model_takes(array, dtype, expected):
    arrays = arrays_of(array, None, None, Signature())
    arrays.x_dtypes = [dtype]
    assert Gather(arrays, Signature())(slice(None))[0].dtype == expected


ROWS = np.arange(12.0).reshape(6, 2)
TWO_BY_TWO = Signature(
    input_names=["a", "b"], input_shapes=[(None, 2)] * 2, input_dtypes=[torch.float32, torch.int64], output_names=["y", "z"]
)


@pytest.mark.parametrize(
    ("x", "y", "weight", "signature"),
    [
        (ROWS, np.arange(6), None, Signature()),
        (ROWS.astype("float32"), None, None, Signature()),
        (ROWS, np.arange(6), np.arange(6.0), Signature()),
        (ROWS, np.arange(6), None, Signature(class_weights=ClassWeights({1: 2.0}, ["y"], [True], [6]))),
        ([ROWS, ROWS + 1], np.arange(6), None, Signature()),
        ({"a": ROWS, "b": ROWS + 1}, [ROWS], None, Signature()),
        ([ROWS, ROWS + 1], [np.arange(6), ROWS], None, TWO_BY_TWO),
        ([ROWS, ROWS + 1], [np.arange(6), ROWS], [None, np.arange(6)], TWO_BY_TWO),
    ],
)
@pytest.mark.parametrize("rows", [torch.tensor([4, 0, 5, 1, 3, 2]).split(4), [slice(0, 4), slice(4, 8)]])
def test_batches_in_a_row_are_those_made_one_by_one(x, y, weight, signature, rows):
    gather = Gather(arrays_of(x, y, weight, signature), signature)
    batches = list(gather.each(rows))
    assert len(batches) == 2
    for batch, index in zip(batches, rows, strict=True):
        torch.testing.assert_close(batch, gather(index), rtol=0, atol=0)


def test_targets_keep_their_integers_and_weights_become_floats():
    _, y, weight = batch_of(np.ones((2, 1)), [0, 1], [1, 2], Signature())
    assert y.dtype == torch.int64 and weight.dtype == torch.float32


def test_floats_follow_the_dtype_of_the_model():
    x, y, weight = batch_of(np.ones((2, 1)), np.ones(2, "float32"), np.ones(2), Signature(float_dtype=torch.float64))
    assert x.dtype == y.dtype == weight.dtype == torch.float64


def test_batches_go_to_the_device_of_the_model():
    x, y, _ = batch_of(np.ones((2, 1)), np.ones(2), None, Signature(device=torch.device("meta")))
    assert x.is_meta and y.is_meta


def test_several_targets_and_weights_are_lists_with_a_place_for_each():
    signature = Signature(output_names=["a", "b"])
    _, y, weight = batch_of(np.ones((2, 1)), [np.ones(2), None], [None, np.ones(2)], signature)
    assert y[1] is None and weight[0] is None and len(y[0]) == len(weight[1]) == 2


def test_class_weights_reach_the_batch():
    signature = Signature(class_weights=ClassWeights({1: 4.0}, ["a"], [True], [2]))
    assert batch_of(np.ones((2, 1)), [0, 1], [1.0, 2.0], signature)[2].tolist() == [1.0, 8.0]


def test_a_model_that_feeds_itself_gets_a_new_tensor_each_step():
    steps = iter(range(9))
    signature = Signature(["a"], [(None, 1)], [torch.float32], ["o"], fed={0: lambda: torch.tensor(next(steps))}, targets=[])
    batches = FedSource(arrays_of(None, None, None, signature), signature).one_pass()
    assert [int(next(batches)[0]) for _ in range(3)] == [0, 1, 2]


def test_fed_targets_take_the_place_of_passed_ones():
    signature = Signature(output_names=["a", "b"], targets_fed={1: lambda: torch.tensor([5.0])}, targets=["a", "b"])
    _, y, _ = batch_of(np.ones((1, 1)), {"a": [1.0]}, None, signature)
    assert [part.tolist() for part in y] == [[1.0], [5.0]]


class Points(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return np.float32(index), np.float32(-index)


class Shaped(Sequence):
    """A `Sequence` that happens to have a `shape`."""

    shape = (3,)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return [[float(index)]], [0.0]


class Again:
    def __iter__(self):
        return iter([([[1.0]], [1.0])])


@pytest.mark.parametrize("x", [iter([1]), (i for i in "a"), Again(), Shaped(), Points(), DataLoader(Points()), UserList([1])])
def test_what_gives_batches_is_known(x):
    assert is_batches(x)


@pytest.mark.parametrize("x", [None, [1], (1,), {"a": 1}, "ab", np.ones(2), torch.ones(2), pd.DataFrame([1]), pd.Series([1]), 5, Points])
def test_what_is_an_array_or_several_is_known(x):
    assert not is_batches(x)


def opened(x, shuffle=False, targets=True, steps=None, signature=None, **loading):
    epochs = open_batches(x, 4, shuffle, Loading(**loading), signature or Signature(), targets, steps)
    try:
        return list(epochs)
    finally:
        epochs.close()


def firsts(batches):
    return [x.flatten().tolist() for x, _, _ in batches]


def test_a_data_set_of_samples_is_batched():
    batches = opened(Points())
    assert firsts(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and batches[0][1].tolist() == [0, -1, -2, -3]


def test_a_data_set_is_shuffled_by_samples_or_by_whole_batches():
    assert sorted(sum(firsts(opened(Points(), shuffle=True)), [])) == list(range(10))
    found = [firsts(opened(Points(), shuffle="batch")) for _ in range(8)]
    assert all(sorted(batches[:2]) == [[0, 1, 2, 3], [4, 5, 6, 7]] and batches[2] == [8, 9] for batches in found)
    assert len({str(batches) for batches in found}) == 2


def test_a_tensor_data_set_is_read_as_arrays():
    data = TensorDataset(torch.arange(5.0).view(5, 1), torch.arange(5), torch.ones(5))
    batches = opened(data)
    assert firsts(batches) == [[0, 1, 2, 3], [4]] and batches[1][1].tolist() == [4] and len(batches[0][2]) == 4
    assert opened(data, targets=False)[0][1:] == (None, None)


def test_a_tensor_data_set_that_changes_its_items_is_asked_for_them():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x * 2, y

    assert firsts(opened(Doubled(torch.ones(2, 1), torch.ones(2)))) == [[2, 2]]


def test_tensor_data_sets_of_several_inputs_are_predicted_on():
    signature = Signature(["a", "b"], [(None, 1), (None, 2)], [torch.float32] * 2)
    (x, _, _) = opened(TensorDataset(torch.ones(3, 1), torch.ones(3, 2)), targets=False, signature=signature)[0]
    assert [part.shape for part in x] == [(3, 1), (3, 2)]


def test_a_sequence_with_a_shape_is_still_a_sequence():
    assert firsts(opened(Shaped())) == [[0], [1]]


def test_the_options_of_a_sequence_are_used():
    epochs = open_batches(Shaped(workers=0, max_queue_size=2), 4, False, Loading(workers=3), Signature(), True, None)
    assert epochs.source.loading == Loading(workers=0, max_queue_size=2)


class Numbered(Sequence):
    def __init__(self, num_batches):
        super().__init__()
        self.num_batches = num_batches

    def __getitem__(self, index):
        return [[float(index)]], [0.0]


@pytest.mark.parametrize(("x", "steps", "found"), [(Numbered(2), None, [[0], [1]]), (Numbered(None), 3, [[0], [1], [2]])])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_sequence_may_say_its_number_of_batches_as_in_keras_3(x, steps, found, workers):
    assert firsts(opened(x, steps=steps, shuffle=x.num_batches is None, workers=workers)) == found


def test_an_endless_sequence_needs_a_number_of_steps():
    with pytest.raises(ValueError, match="The Numbered is endless, so the number of steps is needed: steps_per_epoch"):
        opened(Numbered(None))


def test_a_length_that_is_no_whole_number_is_refused():
    class Ceiled(Shaped):
        def __len__(self):
            return np.ceil(1.5)

    with pytest.raises(TypeError, match=r"The length of a Ceiled is its number of batches, rounded up: int\(np.ceil"):
        opened(Ceiled())


@pytest.mark.parametrize("x", [UserList(), DataLoader(UserList()), TensorDataset(torch.ones(0, 1), torch.ones(0))])
def test_data_without_batches_is_an_error(x):
    with pytest.raises(ValueError, match="holds no"):
        opened(x)


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(("x", "steps"), [(iter([]), 3), (DataLoader(Endless()), None), (Endless(), 2)])
def test_data_that_gives_nothing_is_an_error(x, steps):
    with pytest.raises(ValueError, match="gave no batch"):
        opened(x, steps=steps)


def test_a_generator_needs_a_number_of_steps():
    with pytest.raises(ValueError, match="steps_per_epoch, validation_steps or steps"):
        opened(iter([]))


@pytest.mark.parametrize(
    ("raw", "targets", "lists", "inputs", "expected"),
    [
        (("x", "y"), True, False, 1, ("x", "y", None)),
        (("x", "y", "w"), True, False, 1, ("x", "y", "w")),
        (["x", "y"], True, False, 1, ("x", "y", None)),
        (("x",), True, False, 1, ("x", None, None)),
        ("x", True, False, 1, ("x", None, None)),
        (("x", "y", "w"), False, False, 1, ("x", None, None)),
        ("x", False, False, 1, ("x", None, None)),
        (["a", "b"], False, False, 2, (["a", "b"], None, None)),
        (["a", "b"], False, True, 2, (["a", "b"], None, None)),
        ([["a", "b"], "y"], False, True, 2, (["a", "b"], None, None)),
        ([{"a": 1, "b": 2}, "y"], False, True, 2, ({"a": 1, "b": 2}, None, None)),
        (["x", "y"], False, True, 1, ("x", None, None)),
        ((["a", "b"], "y"), False, False, 2, (["a", "b"], None, None)),
        ({"a": 1}, False, False, 1, ({"a": 1}, None, None)),
    ],
)
def test_batches_are_taken_apart(raw, targets, lists, inputs, expected):
    assert unpack(raw, targets, lists, inputs) == expected


@pytest.mark.parametrize("raw", [None, (), (1, 2, 3, 4), (np.ones((2, 3)),) * 5])
def test_what_is_no_batch_is_refused_and_shown(raw):
    shown = "None" if raw is None else rf"tuple of {len(raw)} came.*\[.*\]"
    with pytest.raises(ValueError, match=shown):
        unpack(raw, True, False, 1)


@pytest.mark.parametrize(("raw", "shown"), [(np.ones((2, 1)), r"ndarray of shape \(2, 1\)"), ({"x": 1, "y": 2}, "'x', 'y'"), (5, "int 5")])
def test_a_batch_without_targets_is_refused_and_shown(raw, shown):
    signature = Signature(["a"], [(None, 1)], [torch.float32], ["out"], [(None, 1)], targets=["out"])
    with pytest.raises(ValueError, match=rf"the outputs \['out'\] need targets. What came: .*{shown}"):
        opened(iter([raw]), steps=1, signature=signature)


@pytest.mark.parametrize("raw", [(np.ones((0, 1)), np.ones(0)), ([], [])])
def test_an_empty_batch_is_refused(raw):
    with pytest.raises(ValueError, match="no samples|holds 0 arrays|empty list"):
        opened(iter([raw]), steps=1)


@pytest.mark.parametrize("value", [1, np.int64(3), np.uint8(2)])
def test_counts_are_positive_integers(value):
    assert check_count(value, "steps") == value and type(check_count(value, "steps")) is int


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True, None])
def test_other_counts_are_refused_by_name(value):
    with pytest.raises(ValueError, match="steps must be a positive integer"):
        check_count(value, "steps")


def test_the_batch_size_is_32_unless_given():
    assert check_batch_size(None) == 32 and check_batch_size(np.int32(7)) == 7


def test_an_iterator_that_knows_its_length_needs_no_number_of_steps():
    class Counted:
        def __len__(self):
            return 3

        def __iter__(self):
            return self

        def __next__(self):
            return np.ones((2, 1)), np.ones((2, 1))

    batches = open_batches(Counted(), 32, False, Loading(0), Signature(), True, None)
    assert len(batches) == len(list(batches)) == 3
