"""`Traced`: a training step becomes a graph that computes the same, and nothing shows that it was traced."""

import copy
import gc
import random

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Sequential, layers
from torchkeras_fn.engine.basics.random_state import random_state, same
from torchkeras_fn.engine.steps.tracing import Traced, Untraceable

X, Y = torch.randn(4, 3), torch.randn(4, 1)


def ready(*inner, **options):
    """Return a model that has taken a step, in a session of training."""
    model = Sequential([Input((3,)), *inner, layers.Dense(1)])
    model.compile(**{"optimizer": "sgd", "loss": "mse", "device": "cpu", "jit_compile": True, **options})
    model.train_on_batch(X, Y)
    return model.train()


def traced(model):
    return Traced(model, [X, Y], lambda leaves: (leaves[0], leaves[1], None))


@torch.no_grad()  # some versions of torch write `detach` into a graph as `alias`, which is no end for gradients
def run(found, x=X):
    return found.graph(x, Y, *(draw() for _, draw in found.draws), *found.kept)


def test_the_graph_returns_the_gradients_of_the_step():
    model = ready(layers.Dense(2, "tanh"))
    found = traced(model)
    model.optimizer.zero_grad()
    model.compute_loss(X, Y, model(X)).backward()
    assert found.parameters == list(model.parameters())
    assert all(map(torch.allclose, run(found), [parameter.grad for parameter in model.parameters()]))


def test_the_graph_changes_running_statistics_and_what_metrics_gather_in_place():
    model = ready(layers.BatchNormalization(), metrics=["mae"])
    found, kept = traced(model), {id(tensor) for tensor in traced(model).kept}
    before, total = model.layers[0].module.running_mean.clone(), model.objective.mean_loss.total.clone()
    assert {id(buffer) for buffer in model.buffers()} <= kept
    run(found)
    assert not torch.equal(model.layers[0].module.running_mean, before)
    assert model.objective.mean_loss.total > total


def test_tracing_takes_no_number_of_the_generators_of_python_and_numpy():
    model = ready(layers.Lambda(lambda x: x * random.random() * np.random.random()))
    state = random_state()
    traced(model)
    assert same(random_state(), state)


def test_no_cycles_are_collected_while_a_step_is_traced():
    """Up to torch 2.9, a tensor in one is emptied though gradients need it, and would be a constant of the graph."""
    seen = []
    model = ready(layers.Lambda(lambda x: seen.append(gc.isenabled()) or x))
    traced(model)
    assert seen[-1] is False
    assert gc.isenabled()


def test_tracing_changes_nothing():
    model = ready(layers.Dropout(0.5), layers.Dropout(0.5, seed=1), layers.BatchNormalization(), metrics=["mae", "AUC"])
    model.counter = 3
    weights, state = copy.deepcopy(model.state_dict()), random_state()
    attributes = {path: dict(vars(part)) for path, part in model.named_modules()}
    generator = model.layers[1].module._generator.get_state()
    figures = model.objective.running.numbers()
    traced(model)
    assert same(random_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(model.layers[1].module._generator.get_state(), generator)
    assert model.objective.running.numbers() == figures
    for path, part in model.named_modules():
        assert all(vars(part)[name] is value for name, value in attributes[path].items() if name != "module")


def test_numbers_of_a_layers_generator_are_drawn_before_the_graph():
    model = ready(layers.Dropout(0.5, seed=1), layers.GaussianNoise(0.1, seed=2))
    found = traced(model)
    assert [tuple(value.shape) for value, _ in found.draws] == [(4, 3), (4, 3)]
    assert not torch.equal(run(found)[0], run(found)[0])


def test_it_is_known_which_tensors_the_graph_writes_to():
    model = ready(layers.Dense(3))
    weight, bias = model.layers[0].module.parameters()

    def forward(x):
        weight.data.t()[1:].mul_(2)
        bias.detach().split(2)[0].neg_()
        return x.relu_() @ weight.mT + bias

    model.layers[0].module.forward = forward
    found = traced(model)
    written = {tensor.data_ptr() for tensor, is_written in zip([X, Y, *found.kept], found.written, strict=True) if is_written}
    assert written == {tensor.data_ptr() for tensor in (X, weight, bias, model.objective.mean_loss.total)}


def test_a_gradient_lies_in_memory_as_its_weight():
    model = Sequential([Input((6, 6, 2)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse", device="cpu")
    x = torch.randn(4, 6, 6, 2)
    model.train_on_batch(x, Y)
    found = Traced(model.train(), [x, Y], lambda leaves: (leaves[0], leaves[1], None))
    assert [gradient.stride() for gradient in run(found, x)] == [parameter.stride() for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x * float(x.sum()) if x.sum() > 0 else x, "depends on the values in tensors"),
        (lambda x: x[x[:, 0] > 0], "values|shape"),
        (lambda x: torch.from_numpy(np.tanh(x.detach().numpy())), "numpy|Fake"),
        (lambda x: x.bernoulli(0.5, generator=torch.Generator()), "draws into tensors from a generator"),
        (lambda x: x * max(x[0].tolist()), r"depends on the values in tensors.*test_tracing.py, line \d+"),
        (lambda x: x * max(X.tolist()[0]), "depends on the values in tensors"),
        (lambda x: (setattr(x, "data", x.data * 2), x)[1], "tensor.data = .*test_tracing.py"),
    ],
)
def test_it_is_said_why_and_where_there_is_no_graph(function, reason):
    model = ready(layers.Dense(3))
    model.layers[0].module.forward = lambda x: function(x)
    with pytest.raises(Untraceable, match=reason):
        traced(model)
