"""The sink: outputs of batches become arrays, in order, in the structure of the outputs."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from torchkeras_fn.engine.batches import sink as sink_module
from torchkeras_fn.engine.batches.sink import Sink


def batch(rows):
    return torch.zeros(rows, 1), None, None


def filled(samples, *outputs, rows=None):
    sink = Sink(samples)
    for index, output in enumerate(outputs):
        sink.take(index, batch(rows or len(output)), output)
    return sink.result()


class Boxes(NamedTuple):
    corners: torch.Tensor
    scores: torch.Tensor


def test_a_named_tuple_stays_one():
    found = filled(3, Boxes(torch.ones(2, 4), torch.zeros(2)), Boxes(torch.ones(1, 4), torch.zeros(1)), rows=2)
    assert type(found) is Boxes and found.corners.shape == (3, 4) and found.scores.shape == (3,)


def test_outputs_are_kept_in_the_cpus_memory_whatever_the_default_device():
    given, output = batch(2), torch.ones(2, 3)
    sink = Sink(2)
    with torch.device("meta"):
        sink.take(0, given, output)
        np.testing.assert_array_equal(sink.result(), np.ones((2, 3)))


def test_outputs_that_are_views_of_a_batch_stay_when_the_data_fills_its_buffer_anew():
    buffer, sink = torch.zeros(2, 4), Sink(None)
    for index in range(3):
        buffer[:] = index
        sink.take(index, (buffer, None, None), [buffer.view(2, 2, 2), buffer[:, :1], buffer[0, 0]])
    nested, sliced, number = sink.result()
    np.testing.assert_array_equal(nested[::2, 0, 0], [0, 1, 2])
    np.testing.assert_array_equal(sliced[::2, 0], [0, 1, 2])
    np.testing.assert_array_equal(number, [0, 1, 2])


@pytest.mark.parametrize("samples", [5, None])
def test_batches_follow_each_other(samples):
    np.testing.assert_array_equal(filled(samples, torch.arange(3.0), torch.arange(3.0, 5.0)), np.arange(5.0))


def test_a_known_number_of_samples_fills_one_array():
    sink = Sink(4)
    sink.take(0, batch(2), torch.ones(2, 3))
    first = sink._arrays[0].data_ptr()
    sink.take(1, batch(2), torch.ones(2, 3))
    assert sink.result().ctypes.data == first


def test_fewer_batches_than_samples_give_a_shorter_array():
    assert filled(10, torch.ones(3, 2)).shape == (3, 2)


def test_several_outputs_are_a_list_and_named_outputs_a_dict():
    several, named = Sink(2), Sink(2)
    several.take(0, batch(2), [torch.ones(2, 1), torch.zeros(2, 3)])
    named.take(0, batch(2), {"a": torch.ones(2, 1), "b": torch.zeros(2, 3)})
    assert [array.shape for array in several.result()] == [(2, 1), (2, 3)]
    assert list(named.result()) == ["a", "b"]


def test_a_list_of_one_output_stays_a_list():
    sink = Sink(None)
    sink.take(0, batch(2), [torch.ones(2, 1)])
    assert [array.shape for array in sink.result()] == [(2, 1)]


@pytest.mark.parametrize(
    ("outputs", "came"),
    [
        (None, "of type NoneType"),
        (np.ones(2), "of type ndarray"),
        ((torch.ones(2), (torch.ones(2), 3)), "of type int"),
        ({"a": None, "b": None}, "of type NoneType"),
        ([], "no outputs"),
    ],
)
@pytest.mark.parametrize("samples", [2, None])
def test_outputs_that_are_no_tensors_are_refused(samples, outputs, came):
    with pytest.raises(TypeError, match=f"A prediction is a tensor.*{came}"):
        Sink(samples).take(0, batch(2), outputs)


@pytest.mark.parametrize("samples", [3, None])
def test_nested_outputs_stay_nested(samples):
    found = filled(samples, *({"b": [torch.ones(rows), torch.zeros(rows, 2)], "a": torch.ones(rows)} for rows in (2, 1)), rows=2)
    assert list(found) == ["b", "a"]
    assert [part.shape for part in (*found["b"], found["a"])] == [(3,), (3, 2), (3,)]


@pytest.mark.parametrize("samples", [4, None])
def test_outputs_that_are_single_numbers_are_joined(samples):
    assert filled(samples, torch.tensor(1.0), torch.tensor(2.0), rows=2).tolist() == [1.0, 2.0]


def test_outputs_with_another_number_of_rows_than_samples_are_joined():
    assert filled(4, torch.ones(6, 1), torch.ones(6, 1), rows=2).shape == (12, 1)


def test_outputs_of_different_lengths_are_joined_each():
    sink = Sink(4)
    for index in range(2):
        sink.take(index, batch(2), [torch.ones(2, 1), torch.ones(1, 5)])
    assert [array.shape for array in sink.result()] == [(4, 1), (2, 5)]


@pytest.mark.parametrize("x", [[torch.zeros(2, 1)], {"a": torch.zeros(2, 1)}, torch.zeros(2, 1)])
def test_the_samples_of_a_batch_are_counted_in_every_structure(x):
    sink = Sink(2)
    sink.take(0, (x, None, None), torch.ones(2, 1))
    assert sink.result().shape == (2, 1)


@pytest.mark.parametrize("samples", [6, None])
def test_outputs_of_a_device_are_waited_for_when_the_next_batch_is_under_way(monkeypatch, samples):
    events = []

    def send(value):
        number = len(events)
        events.append(f"batch {number} is sent")
        return lambda: events.append(f"batch {number} is needed") or torch.full(value.shape, float(number))

    monkeypatch.setattr(sink_module, "sent", send)
    sink = Sink(samples)
    for index in range(2):
        sink.take(index, batch(3), torch.ones(3, 1, device="meta"))
    assert events == ["batch 0 is sent", "batch 1 is sent", "batch 0 is needed"]
    assert sink.result().tolist() == [[0], [0], [0], [1], [1], [1]]


def test_dtypes_are_kept_and_bfloat16_becomes_float32():
    assert filled(2, torch.ones(2, dtype=torch.int64)).dtype == np.int64
    assert filled(2, torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32


@pytest.mark.parametrize("samples", [2, None])
def test_the_result_does_not_share_memory_with_the_outputs(samples):
    output = torch.ones(2)
    result = filled(samples, output)
    output.zero_()
    assert result.tolist() == [1.0, 1.0]


def test_history_is_dropped():
    assert filled(1, torch.ones(1, requires_grad=True) * 2).tolist() == [2.0]


@pytest.mark.parametrize("samples", [2, None])
def test_nothing_to_return_is_an_error(samples):
    with pytest.raises(ValueError, match="gave no batch"):
        Sink(samples).result()


@pytest.mark.parametrize("samples", [None, 3])
def test_an_output_that_is_none_stays_none(samples):
    sink = Sink(samples)
    for rows in (2, 1):
        sink.take(0, (torch.zeros(rows, 1), None, None), {"logits": torch.ones(rows, 2), "loss": None})
    found = sink.result()
    assert found["logits"].shape == (3, 2) and found["loss"] is None
