"""Every function of `ops`: drawn on symbolic tensors it means what it means on real ones, and it takes arrays as well."""

import numpy as np
import pytest
import torch

from tests.drawing import check_drawing, evaluate, tensors
from tests.expressions import OPS, VALUES, names_in
from torchkeras_fn import Input, ops

NOT_DRAWN = ("ops.nonzero", "ops.squeeze(one)", "ops.broadcast_to(one, (3", "ops.segment_sum(row, [0", "ops.ctc_loss")
DRAWN = [line for line in OPS if not line.startswith(NOT_DRAWN)]


@pytest.mark.parametrize("line", DRAWN)
def test_a_drawn_line_means_what_it_says(line):
    check_drawing(line)


@pytest.mark.parametrize("line", [line for line in OPS if not any(sign in line for sign in "+*>&[" )])
def test_arrays_are_taken_where_tensors_are(line):
    with_arrays = evaluate(line, {name: VALUES[name] for name in names_in(line)})
    for ours, real in zip(with_arrays, evaluate(line, tensors(line)), strict=True):
        np.testing.assert_allclose(ours.numpy(), real.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("subtract", [0.5, -2.0]),
        ("isclose", [False, False]),
        ("heaviside", [1.0, 0.0]),
        ("hypot", np.hypot([1.5, -2], [1, 0])),
        ("logaddexp", np.logaddexp([1.5, -2], [1, 0])),
        ("logaddexp2", np.logaddexp2([1.5, -2], [1, 0])),
    ],
)
def test_truth_values_are_0_and_1_beside_numbers(name, expected):
    numbers, truths = torch.tensor([1.5, -2.0]), torch.tensor([True, False])
    np.testing.assert_allclose(getattr(ops, name)(numbers, truths), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["hypot", "logaddexp2", "nextafter"])
def test_integers_are_taken_as_floats(name):
    x1, x2 = torch.tensor([3, 1]), torch.tensor([4, 1])
    torch.testing.assert_close(getattr(ops, name)(x1, x2), getattr(ops, name)(x1.float(), x2.float()))


def test_classes_with_the_same_score_are_all_among_the_highest():
    assert ops.in_top_k([0, 1, 2], [[0.5, 0.5, 0.5]] * 3, 1).tolist() == [True] * 3


CREATED_AS = [
    "zeros(2, {})",
    "ones(2, {})",
    "full(2, 1.0, {})",
    "zeros_like(x, {})",
    "ones_like(x, {})",
    "full_like(x, 1, {})",
    "eye(2, {})",
    "identity(2, {})",
    "arange(3, {})",
    "linspace(0, 1, 3, {})",
    "logspace(0, 1, 3, {})",
    "one_hot([0], 2, {})",
    "multi_hot([0], 2, {})",
    "tri(2, {})",
]


@pytest.mark.parametrize("line", CREATED_AS)
@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_what_is_created_has_the_type_that_was_asked_for(line, dtype):
    made = eval("ops." + line.format(f"dtype={dtype!r}"), {"ops": ops, "x": torch.ones(2)})
    assert made.dtype is getattr(torch, dtype)


def test_whole_numbers_on_a_logarithmic_scale_are_cut_off_at_the_end():
    assert ops.logspace(0, 2, 5, dtype="int32").tolist() == [1, 3, 10, 31, 100]


def test_a_transform_of_too_few_axes_is_refused():
    with pytest.raises(ValueError, match=r"two tensors of one shape with 2 axes or more, but the shapes are \(2,\) and \(2,\)"):
        ops.fft2((torch.ones(2), torch.ones(2)))


def test_a_map_along_symbolic_tensors_says_where_to_put_it():
    with pytest.raises(ValueError, match="vectorized_map walks along tensors, and these are symbolic"):
        ops.vectorized_map(lambda row: row, Input(shape=(3,)))
