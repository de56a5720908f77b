"""Constraints: what they leave of a weight in Keras' layout, and how they are looked up."""

import json

import pytest
import torch

from torchkeras_fn import constraints

W = torch.tensor([[3.0, 0.3, 0.0], [-4.0, 0.4, 0.0]])  # columns of length 5, 0.5 and 0
ALL = [constraints.MaxNorm(1.5), constraints.NonNeg(), constraints.UnitNorm(), constraints.MinMaxNorm(1.0, 2.0, 0.5)]


@pytest.mark.parametrize(
    ("constraint", "lengths"),
    [
        (constraints.MaxNorm(2.0), [2, 0.5, 0]),
        (constraints.MaxNorm(0.0), [0, 0, 0]),
        (constraints.UnitNorm(), [1, 1, 0]),
        (constraints.MinMaxNorm(1.0, 2.0), [2, 1, 0]),
        (constraints.MinMaxNorm(1.0, 2.0, rate=0.5), [3.5, 0.75, 0]),
        (constraints.MinMaxNorm(1.0, 2.0, rate=0.0), [5, 0.5, 0]),
    ],
)
def test_the_length_of_each_column_is_limited_and_its_direction_kept(constraint, lengths):
    result = constraint(W)
    torch.testing.assert_close(result.norm(dim=0), torch.tensor(lengths, dtype=torch.float32), rtol=1e-5, atol=1e-6)
    assert (result * W >= 0).all()


@pytest.mark.parametrize("axis", [(0, 1, 2), [0, 1, 2], -2, 1])
def test_lengths_are_taken_along_one_axis_or_several(axis):
    w = torch.randn(3, 3, 4, 8)
    dim = tuple(axis) if isinstance(axis, list) else axis
    for constraint in (constraints.MaxNorm(1.0, axis), constraints.UnitNorm(axis), constraints.MinMaxNorm(1.0, 1.0, axis=axis)):
        lengths = torch.linalg.vector_norm(constraint(w), dim=dim)
        assert (lengths <= 1.0001).all()


def test_non_negative_keeps_what_is_positive():
    assert constraints.NonNeg()(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [0, 0, 2]


@pytest.mark.parametrize("constraint", ALL)
def test_the_weight_given_is_left_alone(constraint):
    before = W.clone()
    assert constraint(W).shape == W.shape
    assert torch.equal(W, before)


@pytest.mark.parametrize("constraint", ALL)
def test_an_array_is_limited_as_a_tensor_is(constraint):
    torch.testing.assert_close(constraint(W.numpy()), constraint(W))


@pytest.mark.parametrize("constraint", ALL)
def test_the_config_is_json_and_makes_an_equal_constraint(constraint):
    again = constraints.deserialize(json.loads(json.dumps(constraints.serialize(constraint))))
    assert type(again) is type(constraint)
    assert again.get_config() == constraint.get_config()
    assert torch.equal(again(W), constraint(W))


def test_several_axes_are_a_list_in_the_config():
    assert constraints.MaxNorm(1, axis=(0, 1)).get_config() == {"max_value": 1, "axis": [0, 1]}


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("max_norm", constraints.MaxNorm),
        ("MaxNorm", constraints.MaxNorm),
        ("maxnorm", constraints.MaxNorm),
        ("non_neg", constraints.NonNeg),
        ("unit_norm", constraints.UnitNorm),
        ("min_max_norm", constraints.MinMaxNorm),
    ],
)
def test_names_and_their_aliases(name, cls):
    assert type(constraints.get(name)) is cls


def test_lower_case_names_are_called_as_in_keras_2():
    assert constraints.max_norm(3.0).max_value == 3.0
    assert isinstance(constraints.unit_norm(), constraints.UnitNorm)


def test_none_stays_none_and_a_function_itself():
    assert constraints.get(None) is None
    assert constraints.get(torch.abs) is torch.abs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constraints.MaxNorm(-1), "'max_value' must be a finite number of at least 0, got -1"),
        (lambda: constraints.MaxNorm(axis=None), "'axis' must be an integer or a list of integers, got None"),
        (lambda: constraints.MinMaxNorm(2.0, 1.0), "'min_value' must not exceed 'max_value', got 2.0 and 1.0"),
        (lambda: constraints.MinMaxNorm(rate=1.5), "'rate' must be between 0 and 1, got 1.5"),
        (lambda: constraints.get("max_nrom"), "Unknown constraint 'max_nrom'. Did you mean 'max_norm'?"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_argument_that_is_not_known_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'axis'"):
        constraints.NonNeg(axis=1)


def test_a_constraint_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Constraint needs a __call__"):
        constraints.Constraint()(W)


def test_old_names_are_known():
    assert constraints.maxnorm is constraints.MaxNorm
    assert constraints.nonneg is constraints.NonNeg
    assert constraints.unitnorm is constraints.UnitNorm
