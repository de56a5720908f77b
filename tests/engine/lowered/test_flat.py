"""The flat function computes what the graph module computes, bit by bit, and lets everybody who watches the modules see them run."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn.utils import parametrize

from torchkeras_fn import Model
from torchkeras_fn.callbacks import LambdaCallback
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.engine.lowered.flat import Flat, softmax
from torchkeras_fn.layers import (
    LSTM,
    Activation,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Layer,
    LayerNormalization,
    MaxPooling2D,
    TorchModuleWrapper,
)

ROWS = 48


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random((ROWS, *shape), dtype=np.float32)


def indices(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, count, (ROWS, *shape))


def multilayer_perceptron() -> Any:
    x = Input(shape=(6,))
    hidden = Dropout(0.3)(BatchNormalization()(Dense(8, activation="relu")(x)))
    return Model(x, Dense(3, activation="softmax")(hidden)), numbers(6), indices(3), "sparse_categorical_crossentropy"


def convolutional() -> Any:
    x = Input(shape=(8, 8, 2))
    hidden = MaxPooling2D()(BatchNormalization()(Conv2D(4, 3, activation="relu")(x)))
    return Model(x, Dense(1, activation="sigmoid")(Dropout(0.5)(Flatten()(hidden)))), numbers(8, 8, 2), indices(2), "binary_crossentropy"


def masked_recurrent() -> Any:
    x = Input(shape=(5,))
    hidden = LSTM(6)(Embedding(7, 4, mask_zero=True)(x))
    return Model(x, Dense(1)(LayerNormalization()(hidden))), indices(7, 5), numbers(), "mse"


def several_outputs() -> Any:
    one, other = Input(shape=(4,), name="one"), Input(shape=(4,), name="other")
    shared = Dense(5, activation="tanh")
    both = Concatenate()([shared(one), shared(other)])
    outputs = [Dense(2, activation="softmax", name="kind")(both), Dense(1, name="size")(both[:, 1:] * 2.0 + 1)]
    targets = [indices(2), numbers(1)]
    return Model([one, other], outputs), [numbers(4), numbers(4)], targets, ["sparse_categorical_crossentropy", "mae"]


def nested_and_fixed() -> Any:
    inner_x = Input(shape=(4,))
    inner = Model(inner_x, Dropout(0.5)(Dense(4, activation="relu")(inner_x)))
    x = Input(shape=(4,))
    always = inner(x, training=True)
    wrapped = TorchModuleWrapper(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))(torch.cat([always, inner(x)], -1)[:, :4] + torch.ones(4))
    return Model(x, Dense(2, activity_regularizer="l2")(Activation("relu")(wrapped))), numbers(4), numbers(2), "huber"


MODELS = [multilayer_perceptron, convolutional, masked_recurrent, several_outputs, nested_and_fixed]


def trained(make: Callable[[], Any], watched: bool, batch_size: int = 8) -> tuple[dict[str, Any], Any, Any]:
    """Weights, history and predictions after 24 steps; a hook on all modules makes the graph modules themselves run."""
    set_random_seed(0)
    model, x, y, loss = make()
    seen: list[Any] = []
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module)) if watched else None
    try:
        model.compile("adam", loss, metrics=["accuracy"], device="cpu")
        history = model.fit(x, y, batch_size=batch_size, epochs=4, verbose=0).history
        predictions = model.predict(x, batch_size=ROWS)
    finally:
        if hook is not None:
            hook.remove()
    assert not watched or any(isinstance(module, GraphModule) for module in seen)
    return model.state_dict(), history, predictions if isinstance(predictions, list) else [predictions]


@pytest.mark.parametrize("make", MODELS)
def test_training_is_the_same_bit_by_bit(make):
    weights, history, predictions = trained(make, watched=False)
    public_weights, public_history, public_predictions = trained(make, watched=True)
    assert history == public_history
    for name, tensor in weights.items():
        assert torch.equal(tensor, public_weights[name]), name
    for ours, public in zip(predictions, public_predictions, strict=True):  # a softmax takes another way to the last bit
        np.testing.assert_allclose(ours, public, rtol=4 * np.finfo("float32").eps, atol=0)


@pytest.mark.parametrize("shape", [(100, 2), (100, 10), (100, 15), (100, 16), (8, 10), (4, 100, 3), (100,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_softmax_is_torchs_along_any_way(shape, dtype):
    scores = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 5).to(dtype)
    ours, torchs = softmax(scores), torch.softmax(scores, -1)
    torch.testing.assert_close(ours, torchs, rtol=4 * torch.finfo(dtype).eps, atol=0)
    assert ours.is_contiguous() and ours.dtype == dtype


def test_a_softmax_along_another_axis_stays_along_it():
    x = Input(shape=(4, 3))
    predictions = Model(x, torch.softmax(Dense(3)(x), 1)).predict(numbers(4, 3), verbose=0)
    np.testing.assert_allclose(predictions.sum(1), np.ones((ROWS, 3)), rtol=1e-6)


def test_softmax_of_infinities_is_torchs():
    scores = torch.tensor([[0.0, -torch.inf, 1.0], [torch.inf, 0.0, 1.0], [torch.nan, 0.0, 1.0]]).repeat(20, 1)
    torch.testing.assert_close(softmax(scores), torch.softmax(scores, -1), equal_nan=True)


def test_softmax_in_training_is_torchs_bit_by_bit():
    scores = torch.randn(100, 3).requires_grad_()
    assert torch.equal(softmax(scores), torch.softmax(scores, -1))


@pytest.mark.parametrize("make", MODELS)
def test_no_frame_of_a_plain_layer_is_left(make):
    model, *_ = make()
    source = Flat(model.lowered).source
    assert "linear(" in source and "Linear" in source and "module(" in source


def small() -> tuple[Model, np.ndarray, np.ndarray]:
    x = Input(shape=(4,))
    model = Model(x, Dense(2, name="second")(Dense(3, activation="relu", name="first")(x)))
    model.compile("sgd", "mse", device="cpu")
    return model, numbers(4), numbers(2)


HOOKS = ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_full_backward_pre_hook"]


@pytest.mark.parametrize("register", HOOKS)
def test_hooks_registered_before_training_are_called(register):
    model, x, y = small()
    calls: list[Any] = []
    hook = getattr(model.get_layer("second").module, register)(lambda *args: calls.append(args) and None)
    model.fit(x, y, batch_size=12, verbose=0)
    assert len(calls) == 4
    hook.remove()
    model.fit(x, y, batch_size=12, verbose=0)
    assert len(calls) == 4


@pytest.mark.parametrize("event", ["on_epoch_begin", "on_batch_end"])
def test_hooks_registered_during_training_are_called(event):
    model, x, y = small()
    calls, hooks = [], []

    def watch(number: int, logs: Any) -> None:
        if number == 1:
            hooks.append(model.get_layer("second").module.register_forward_hook(lambda *args: calls.append(args) and None))

    model.fit(x, y, batch_size=12, epochs=2 if event == "on_epoch_begin" else 1, verbose=0, callbacks=[LambdaCallback(**{event: watch})])
    assert len(calls) == (4 if event == "on_epoch_begin" else 2)


def test_hooks_see_the_batches_of_a_prediction_as_they_were_asked_for():
    model, x, _ = small()
    sizes: list[int] = []
    model.get_layer("first").module.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    model.predict(x, batch_size=20)
    assert sizes == [20, 20, 8]


def test_hooks_on_the_lowered_model_are_called():
    model, x, _ = small()
    calls: list[Any] = []
    model.predict(x)
    model.lowered.register_forward_hook(lambda *args: calls.append(args) and None)
    model.predict(x, batch_size=ROWS)
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["Multi-Head", "2nd", "class"])
def test_a_layer_whose_name_is_no_identifier_makes_masks(name):
    class Passing(Layer):
        def call(self, inputs):
            return inputs

        def compute_mask(self, inputs, mask=None):
            return mask

    x = Input((4,), dtype="int64")
    hidden = Passing(name=name)(Embedding(3, 2, mask_zero=True)(x))
    model = Model(x, Dense(1)(hidden))
    model.compile("sgd", "mse")
    numbers = np.array([[1, 2, 0, 0], [1, 0, 0, 0]])
    targets = model.predict(numbers, verbose=0)
    targets[numbers == 0] += 5  # which the mask hides
    assert model.evaluate(numbers, targets, verbose=0) == 0


def test_a_replaced_parameter_counts():
    model, x, _ = small()
    before = model.predict(x)
    model.get_layer("second").module.bias = nn.Parameter(torch.full((2,), 7.0))
    np.testing.assert_allclose(model.predict(x) - before, 7.0, rtol=1e-5)


def test_a_parametrization_counts():
    model, x, _ = small()
    model.predict(x)

    class Zero(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight * 0

    linear = model.get_layer("second").module
    parametrize.register_parametrization(linear, "weight", Zero())
    np.testing.assert_array_equal(model.predict(x), 0)
    parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)
    assert model.predict(x).any()


def test_weight_norm_counts():
    model, x, _ = small()
    linear = nn.utils.parametrizations.weight_norm(model.get_layer("second").module)
    before = model.predict(x)
    with torch.no_grad():
        linear.parametrizations.weight.original0.mul_(2)
    np.testing.assert_allclose(model.predict(x), 2 * before, rtol=1e-5)


def test_a_forward_of_ones_own_counts():
    model, x, _ = small()
    model.predict(x)
    model.get_layer("second").module.forward = lambda inputs: inputs[:, :2] * 0 + 3
    np.testing.assert_array_equal(model.predict(x), 3)


def test_a_module_put_in_place_of_another_counts():
    model, x, _ = small()
    model.predict(x)
    model.lowered.second = nn.Identity()
    assert model.predict(x).shape == (ROWS, 3)


def test_a_cast_model_is_computed_in_its_type():
    model, x, _ = small()
    model.predict(x)
    model.double()
    assert model.predict(x).dtype == np.float64


def test_an_edited_graph_counts():
    model, x, _ = small()
    model.predict(x)
    view = model.lowered
    output = next(node for node in view.graph.nodes if node.op == "output")
    with view.graph.inserting_before(output):
        doubled = view.graph.call_function(torch.mul, (output.args[0], 0))
    output.args = (doubled,)
    view.recompile()
    np.testing.assert_array_equal(model.predict(x), 0)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_runs_its_own_weights(duplicate):
    model, x, y = small()
    before = model.predict(x)
    twin = duplicate(model)
    twin.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.predict(x), before)
    assert (twin.predict(x) != before).any()


def test_a_long_model_is_one_function_too():
    x = hidden = Input(shape=(2,))
    for _ in range(1200):
        hidden = Dense(2)(hidden)
    model = Model(x, hidden)
    np.testing.assert_array_equal(model.predict(numbers(2)), model.lowered(torch.from_numpy(numbers(2))).detach().numpy())


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_a_parametrization_of_a_layer_says_that_it_belongs_on_the_module(name):
    parametrize = getattr(nn.utils.parametrizations, name)
    model, x, y = small()
    layer = model.get_layer("first")
    with pytest.raises(ValueError, match=r"weight_norm\(layer.module\)"):
        parametrize(layer)
    model.fit(x, y, verbose=0)
    parametrize(layer.module)
    model.compile("sgd", "mse", device="cpu")
    model.fit(x, y, verbose=0)


def test_the_code_is_compiled_when_it_is_to_run():
    x = Input(shape=(3,))
    flat = Flat(Model(x, Dense(2)(x)).lowered)
    assert "run" not in vars(flat)
    flat.run(torch.ones(1, 3))
    assert "run" in vars(flat)
