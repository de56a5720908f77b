"""Activations: what they return, that an fx proxy passes through them, and how they are looked up."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import fx

from torchkeras_fn import activations
from torchkeras_fn.registry import custom_object_scope

NAMES = [*activations._registry.entries, "swish", "hard_swish"]
NAMES.remove("threshold")  # it alone needs arguments

VARIANTS = [(name, {}) for name in NAMES] + [
    ("threshold", {"threshold": 0.5, "default_value": -1.0}),
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"max_value": 1.0}),
    ("relu", {"threshold": 0.5}),
    ("relu", {"negative_slope": 0.1, "max_value": 1.0, "threshold": 0.5}),
    ("leaky_relu", {"negative_slope": 0.01}),
    ("softmax", {"axis": 1}),
    ("softmax", {"axis": (1, 2)}),
    ("log_softmax", {"axis": [1, 2]}),
    ("sparsemax", {"axis": 1}),
    ("glu", {"axis": 1}),
    ("gelu", {"approximate": True}),
    ("elu", {"alpha": 0.5}),
    ("celu", {"alpha": 0.5}),
    ("squareplus", {"b": 1.0}),
]


def traced(name, arguments):
    function = getattr(activations, name)

    class Net(torch.nn.Module):
        def forward(self, x):
            return function(x, **arguments)

    return fx.symbolic_trace(Net())


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_a_traced_activation_computes_the_same_and_pickles(name, arguments):
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)) * 2
    expected = getattr(activations, name)(x, **arguments)
    module = traced(name, arguments)
    assert torch.equal(module(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(module))(x), expected)


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_an_array_is_taken_as_a_tensor(name, arguments):
    x = np.random.default_rng(0).normal(size=(2, 4, 6))
    result = getattr(activations, name)(x, **arguments)
    assert result.dtype is torch.float32
    assert torch.equal(result, getattr(activations, name)(torch.tensor(x, dtype=torch.float32), **arguments))


def test_lists_and_whole_numbers_are_taken_as_floats():
    assert torch.equal(activations.softmax([[1, 1]]), torch.tensor([[0.5, 0.5]]))
    assert torch.equal(activations.elu(np.array([2], "int32")), torch.tensor([2.0]))


def test_the_float_type_of_an_array_that_was_chosen_is_kept():
    assert activations.relu(np.ones(2, "float16")).dtype is torch.float16


@pytest.mark.parametrize("name", ["silu", "elu", "relu", "hard_sigmoid", "sigmoid", "tanh"])
def test_an_activation_pickles_as_itself(name):
    assert pickle.loads(pickle.dumps(getattr(activations, name))) is getattr(activations, name)


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_gradients_are_right(name, arguments):
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: getattr(activations, name)(x, **arguments), (x,))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_is_kept(name, dtype):
    assert getattr(activations, name)(torch.ones(2, 4, dtype=dtype)).dtype is dtype


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("relu", F.relu),
        ("sigmoid", torch.sigmoid),
        ("tanh", torch.tanh),
        ("softmax", torch.softmax),
        ("leaky_relu", F.leaky_relu),
        ("gelu", F.gelu),
        ("silu", F.silu),
        ("log_softmax", torch.log_softmax),
    ],
)
def test_the_common_ones_are_one_torch_call(name, target):
    assert [node.target for node in traced(name, {}).graph.nodes if node.op != "placeholder"][:-1] == [target]


def test_the_last_axis_of_softmax_is_given_by_position():
    (node,) = (node for node in traced("softmax", {}).graph.nodes if node.op == "call_function")
    assert node.args[1] == -1


def test_relu_with_all_arguments_follows_its_three_pieces():
    x = torch.tensor([-2.0, 0.0, 1.0, 2.0, 9.0])
    result = activations.relu(x, negative_slope=0.5, max_value=6.0, threshold=1.0)
    assert result.tolist() == [-1.5, -0.5, 0.0, 2.0, 6.0]


def test_relu_with_a_largest_value_has_none_below_zero_above_a_negative_threshold():
    x = torch.tensor([-4.0, -2.0, 1.0, 9.0])
    assert activations.relu(x, negative_slope=0.5, max_value=6.0, threshold=-3.0).tolist() == [-0.5, 0.0, 1.0, 6.0]


@pytest.mark.parametrize("arguments", [{}, {"threshold": 1.0}, {"max_value": 3.0}])
def test_relu_of_minus_infinity_is_zero(arguments):
    assert activations.relu(torch.tensor([-torch.inf]), **arguments).tolist() == [0.0]


def test_softmax_over_no_axis_in_particular_is_over_all():
    result = activations.softmax(torch.randn(3, 4), axis=None)
    torch.testing.assert_close(result.sum(), torch.tensor(1.0))
    torch.testing.assert_close(activations.log_softmax(torch.zeros(2, 2), axis=None).exp(), torch.full((2, 2), 0.25))


def test_softmax_over_two_axes_sums_to_one_for_each_sample():
    result = activations.softmax(torch.randn(3, 4, 5), axis=(1, 2))
    torch.testing.assert_close(result.sum((1, 2)), torch.ones(3))


def test_sparsemax_is_the_projection_onto_the_simplex():
    x = torch.randn(50, 8, dtype=torch.float64) * 3
    result = activations.sparsemax(x)
    torch.testing.assert_close(result.sum(-1), torch.ones(50, dtype=torch.float64))
    assert (result >= 0).all() and (result == 0).any()
    # No other point of the simplex is nearer.
    others = torch.softmax(torch.randn(1000, 1, 8, dtype=torch.float64) * 3, -1)
    assert ((others - x).norm(dim=-1) >= (result - x).norm(dim=-1)).all()


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0, 1.0], [-torch.inf, 0.0, 0.0, -torch.inf], [1000.0, 0.0, 0.0, 0.0]])
def test_sparsemax_of_ties_masks_and_large_values_sums_to_one(values):
    assert activations.sparsemax(torch.tensor(values)).sum().item() == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_name_gives_the_function_and_the_function_a_name(name):
    function = activations.get(name)
    assert function is getattr(activations, name)
    assert activations.deserialize(activations.serialize(function)) is function


@pytest.mark.parametrize(
    ("spelling", "name"), [("ReLU", "relu"), ("LeakyReLU", "leaky_relu"), ("hard-sigmoid", "hard_sigmoid"), ("SELU", "selu")]
)
def test_other_spellings_are_understood(spelling, name):
    assert activations.get(spelling) is getattr(activations, name)


def test_none_means_linear():
    assert activations.get(None) is activations.linear


def test_a_callable_is_given_back():
    module = torch.nn.PReLU()
    assert activations.get(module) is module
    assert activations.get(torch.sin) is torch.sin


def test_a_custom_object_is_found_by_name():
    def twice(x):
        return 2 * x

    with custom_object_scope({"twice": twice}):
        assert activations.get("twice") is twice
    assert activations.deserialize("twice", custom_objects={"twice": twice}) is twice


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="Unknown activation 'sofmax'. Did you mean 'softmax'?"):
        activations.get("sofmax")


def test_what_is_no_activation_is_refused():
    with pytest.raises(ValueError, match="activation.*got 3 of type int"):
        activations.get(3)


def test_the_slope_of_relu_has_two_names():
    x = torch.tensor([-2.0, 1.0])
    assert torch.equal(activations.relu(x, alpha=0.5), activations.relu(x, negative_slope=0.5))
