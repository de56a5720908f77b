"""Targets, weights and masks against predictions: what fits, what is refused, and that nothing is broadcast by chance."""

import numpy as np
import pytest
import torch

from torchkeras_fn.alignment import align, align_loosely, align_with_classes, as_tensor, as_values, combine, weighted


@pytest.mark.parametrize(
    ("true", "pred", "aligned"),
    [
        ((4,), (4, 1), (4, 1)),
        ((4, 1), (4,), (4,)),
        ((4, 1), (4, 1), (4, 1)),
        ((4, 5), (4, 5, 1), (4, 5, 1)),
        ((4, 5, 1), (4, 5), (4, 5)),
        ((4,), (4,), (4,)),
    ],
)
def test_a_last_axis_of_one_is_added_or_taken_off(true, pred, aligned):
    assert align(torch.zeros(true), torch.zeros(pred)).shape == aligned


@pytest.mark.parametrize(
    ("true", "pred", "axis", "aligned"),
    [
        ((4,), (4, 3), -1, (4,)),
        ((4, 1), (4, 3), -1, (4,)),
        ((4, 5), (4, 5, 3), -1, (4, 5)),
        ((4, 5, 1), (4, 5, 3), -1, (4, 5)),
        ((4, 5), (4, 3, 5), 1, (4, 5)),
        ((4, 1, 5), (4, 3, 5), 1, (4, 5)),
        ((4, 5), (4, 3, 5), -2, (4, 5)),
        ((), (3,), -1, ()),
    ],
)
def test_class_indices_take_the_shape_without_the_axis_of_the_classes(true, pred, axis, aligned):
    found = align(torch.zeros(true), torch.zeros(pred), indices=True, axis=axis)
    assert found.shape == aligned and found.dtype == torch.int64


@pytest.mark.parametrize("axis", [1, 2])
def test_class_indices_for_another_axis_are_refused(axis):
    with pytest.raises(ValueError, match="Class indices of shape"):
        align(torch.zeros(4, 3), torch.zeros(4, 3, 5), indices=True, axis=axis - 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [(0, r"Targets of shape \(None, 2\) do not fit predictions of shape \(None, 3\)"), (4, r"\(4, 2\) do not fit .* \(4, 3\)")],
)
def test_a_check_without_rows_speaks_of_any_number_of_them(rows, message):
    with pytest.raises(ValueError, match=message):
        align(torch.zeros(rows, 2), torch.zeros(rows, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_targets_take_the_dtype_of_the_predictions(dtype):
    assert align(torch.zeros(2, 1), torch.zeros(2, 1, dtype=dtype)).dtype == dtype


def test_classes_on_axis_one():
    assert align_with_classes(torch.zeros(4, 5, dtype=torch.int32), torch.zeros(4, 3, 5)).dtype == torch.int64
    assert align_with_classes(torch.zeros(4, 3, 5), torch.zeros(4, 3, 5)).dtype == torch.float32


def test_loose_alignment_leaves_shapes_that_only_the_function_knows():
    assert align_loosely(torch.zeros(4, 7), torch.zeros(4, 3)).shape == (4, 7)
    assert align_loosely(torch.zeros(4, dtype=torch.int32), torch.zeros(4, 3)).dtype == torch.int64


@pytest.mark.parametrize(
    ("values", "weight", "fits"),
    [
        ((4,), (4,), True),
        ((4, 3), (4,), True),
        ((4, 3), (4, 1), True),
        ((4, 3), (4, 3), True),
        ((4,), (4, 1), True),
        ((4, 3, 2), (4, 1, 2), True),
        ((4, 3), (), True),
        ((), (4,), True),
        ((4,), (1,), False),
        ((4, 3), (3,), False),
        ((4, 3), (1, 3), False),
        ((4, 3), (4, 2), False),
        ((4,), (4, 4), False),
    ],
)
def test_which_weights_go_with_which_values(values, weight, fits):
    values, weight = torch.rand(values), torch.rand(weight)
    if not fits:
        with pytest.raises(ValueError, match="Weights of shape"):
            weighted(values, weight)
        return
    if weight.ndim > values.ndim > 0:
        weight = weight.squeeze(-1)
    wide = weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
    torch.testing.assert_close(weighted(values, weight), values * wide)


@pytest.mark.parametrize("weight_shape", [(2,), (2, 1), (2, 3)])
def test_weights_and_a_mask_are_one_weight(weight_shape):
    mask, weight = torch.tensor([[True, True, False], [True, False, False]]), torch.rand(weight_shape)
    wide = weight if weight.ndim == 2 else weight.unsqueeze(1)
    torch.testing.assert_close(combine(weight, mask), mask * wide)
    torch.testing.assert_close(combine(weight, mask, scaled=True), mask * wide * 2)
    torch.testing.assert_close(combine(torch.rand(2, 3), torch.tensor([True, False]))[1], torch.zeros(3))
    assert combine(weight, None) is weight and combine(None, None) is None


def test_tensors_are_left_and_other_things_go_where_the_predictions_are():
    tensor = torch.ones(2)
    assert as_tensor(tensor) is tensor
    assert as_tensor(np.ones(2), torch.empty(2, device="meta")).device.type == "meta"


@pytest.mark.parametrize("masks", [[torch.tensor([True, False]), torch.tensor([False, True])], (torch.tensor([True, False]), None)])
def test_of_a_list_of_masks_the_first_is_that_of_the_output(masks):
    assert combine(None, masks).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("masks", [[], [None, torch.tensor([False, True])]])
def test_a_list_of_masks_without_a_first_one_hides_nothing(masks):
    weight = torch.tensor([2.0, 3.0])
    assert combine(weight, masks, scaled=True) is weight


@pytest.mark.parametrize("value", [True, 1, 1.0, np.float32(1), torch.tensor(True), torch.tensor(1), [torch.tensor(1.0)]])
def test_what_a_users_function_returned_is_read_as_real_numbers(value):
    read = as_values(value, "The loss 'f'", torch.zeros(1))
    assert read.dtype == torch.float32 and read.sum() == 1


def test_a_list_of_scalars_keeps_their_gradients():
    weight = torch.ones((), requires_grad=True)
    assert as_values([weight, 2 * weight], "The loss 'f'", torch.zeros(1)).requires_grad


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "The loss 'f' has to return a tensor.*of type NoneType. Does it end with a return"),
        ("high", "of type str"),
        ({"loss": torch.ones(2)}, "of type dict"),
        ((torch.ones(2), torch.ones(3)), "of type tuple. Return one tensor"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
        (1j, "complex"),
    ],
)
def test_what_is_no_real_number_is_refused(value, message):
    with pytest.raises(TypeError, match=message):
        as_values(value, "The loss 'f'", torch.zeros(1))
