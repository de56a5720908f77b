"""Regularizers: the penalty, its gradient, fx proxies, and how they are looked up."""

import json

import pytest
import torch
from torch import fx

from torchkeras_fn import regularizers

W = torch.tensor([[1.0, -2.0], [0.0, 3.0]])


@pytest.mark.parametrize(
    ("regularizer", "penalty"),
    [
        (regularizers.L1(0.5), 3.0),
        (regularizers.L2(0.5), 7.0),
        (regularizers.L1L2(0.5, 0.5), 10.0),
        (regularizers.L1L2(l1=0.5), 3.0),
        (regularizers.L1L2(l2=0.5), 7.0),
        (regularizers.L1L2(), 0.0),
        (regularizers.l1(0.5), 3.0),
        (regularizers.l1(l=0.5), 3.0),
        (regularizers.l1(l1=0.5), 3.0),
        (regularizers.l2(l=0.5), 7.0),
        (regularizers.l2(l2=0.5), 7.0),
        (regularizers.l1_l2(l1=0.5, l2=0.5), 10.0),
        (regularizers.l1_l2(), 0.2),
    ],
)
def test_the_penalty_is_a_scalar_and_traces(regularizer, penalty):
    result = regularizer(W)
    assert result.shape == ()
    assert result.item() == pytest.approx(penalty)
    assert fx.symbolic_trace(lambda x: regularizer(x))(W).item() == pytest.approx(penalty)


@pytest.mark.parametrize(
    ("regularizer", "gradient"),
    [(regularizers.L1(0.5), 0.5 * W.sign()), (regularizers.L2(0.5), W), (regularizers.L1L2(0.5, 0.5), 0.5 * W.sign() + W)],
)
def test_the_gradient_is_finite_at_zero_too(regularizer, gradient):
    w = W.clone().requires_grad_()
    regularizer(w).backward()
    torch.testing.assert_close(w.grad, gradient)


def test_orthogonal_looks_at_rows_or_at_columns():
    w = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    assert regularizers.OrthogonalRegularizer(1.0)(w).item() == pytest.approx(1 / 3)
    assert regularizers.OrthogonalRegularizer(1.0, mode="columns")(w).item() == 0


def test_orthogonal_of_a_single_row_is_zero():
    assert regularizers.OrthogonalRegularizer(1.0)(torch.ones(1, 4)).item() == 0


@pytest.mark.parametrize(
    ("identifier", "config"),
    [
        ("l1", {"l1": 0.01}),
        ("l2", {"l2": 0.01}),
        ("L2", {"l2": 0.01}),
        ("l1_l2", {"l1": 0.01, "l2": 0.01}),
        ("L1L2", {"l1": 0.01, "l2": 0.01}),
        ("orthogonal_regularizer", {"factor": 0.01, "mode": "rows"}),
        (regularizers.L2, {"l2": 0.01}),
        ({"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}}, {"l1": 0.0, "l2": 0.5}),
        ({"class_name": "L1L2", "config": {"l2": 0.5}}, {"l1": 0.0, "l2": 0.5}),
    ],
)
def test_names_and_configs(identifier, config):
    assert regularizers.get(identifier).get_config() == config


@pytest.mark.parametrize(
    "regularizer",
    [regularizers.L1(0.1), regularizers.L2(0.1), regularizers.L1L2(0.1, 0.2), regularizers.OrthogonalRegularizer(0.1, "columns")],
)
def test_the_config_is_json_and_makes_an_equal_regularizer(regularizer):
    again = regularizers.deserialize(json.loads(json.dumps(regularizers.serialize(regularizer))))
    assert type(again) is type(regularizer)
    assert again(W) == regularizer(W)


def test_none_stays_none_and_a_function_itself():
    assert regularizers.get(None) is None
    assert regularizers.get(torch.sum) is torch.sum


def test_a_subclass_is_found_by_name():
    class Mean(regularizers.Regularizer):
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return self.factor * x.mean()

    written = regularizers.serialize(Mean(2.0))
    assert regularizers.deserialize(written, custom_objects={"Mean": Mean})(W).item() == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.L1(-0.1), "'l1' must be a finite number of at least 0, got -0.1"),
        (lambda: regularizers.L2(float("nan")), "'l2' must be a finite number"),
        (lambda: regularizers.L1L2(l2="0.1"), "'l2' must be a finite number of at least 0, got '0.1'"),
        (lambda: regularizers.OrthogonalRegularizer(-0.1), "'factor' must be a finite number of at least 0, got -0.1"),
        (lambda: regularizers.OrthogonalRegularizer(mode="diagonal"), "'mode' must be one of 'rows', 'columns'; got 'diagonal'"),
        (lambda: regularizers.OrthogonalRegularizer()(torch.ones(2, 2, 2)), r"takes a matrix, got a tensor of shape \(2, 2, 2\)"),
        (lambda: regularizers.get("l1l3"), "Unknown regularizer 'l1l3'. Did you mean 'l1_l2'?"),
        (lambda: regularizers.get(0.01), "regularizer.*got 0.01 of type float"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_regularizer_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Regularizer needs a __call__"):
        regularizers.Regularizer()(W)
