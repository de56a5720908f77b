"""Gradients by hand are autograd's, bit by bit, and give way to autograd wherever somebody else has to do with them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from torchkeras_fn import Model, Sequential
from torchkeras_fn.callbacks import LambdaCallback
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.engine.lowered.by_hand import ByHand, by_hand, dropped
from torchkeras_fn.engine.lowered.flat import Flat
from torchkeras_fn.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Lambda,
    Layer,
    Masking,
    Normalization,
    ReLU,
    Rescaling,
    TorchModuleWrapper,
)

ROWS, FEATURES, CLASSES = 24, 6, 3
X = np.random.default_rng(0).random((ROWS, FEATURES), dtype=np.float32)
Y = np.random.default_rng(1).integers(0, CLASSES, ROWS)


def uses_hands(model: Model) -> bool:
    return isinstance(model._views["training"], ByHand)


@contextmanager
def autograd_alone() -> Iterator[None]:
    """A hook on all modules makes the graph modules run, as everybody else runs them."""
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        yield
    finally:
        handle.remove()


def perceptron(activation: str = "relu", **options: Any) -> Model:
    x = Input(shape=(FEATURES,))
    hidden = Dense(8, activation=activation, **options)(x)
    return Model(x, Dense(CLASSES, activation="softmax")(Dense(8, activation=activation)(hidden)))


def trained(make: Callable[[], Model], x: Any = X, y: Any = Y, loss: Any = "sparse_categorical_crossentropy", **arguments: Any) -> Any:
    """The history and the weights of a training, and whether it took place by hand."""
    set_random_seed(0)
    model = make()
    fitting = {"batch_size": 5, "epochs": 3, "verbose": 0, **{key: arguments.pop(key) for key in ("sample_weight",) if key in arguments}}
    model.compile(arguments.pop("optimizer", "adam"), loss, device="cpu", **arguments)
    history = model.fit(x, y, **fitting).history
    return history, [weight.tobytes() for weight in model.get_weights()], uses_hands(model)


def check_same(make: Callable[[], Model], *data: Any, **arguments: Any) -> None:
    history, weights, is_by_hand = trained(make, *data, **arguments)
    with autograd_alone():
        expected_history, expected_weights, _ = trained(make, *data, **arguments)
    assert is_by_hand
    assert history == expected_history
    assert weights == expected_weights


# ---------------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_perceptron_learns_the_same(activation, optimizer):
    check_same(lambda: perceptron(activation), optimizer=optimizer, metrics=["accuracy"])


@pytest.mark.parametrize(
    "options", [{"use_bias": False}, {"kernel_regularizer": "l2", "bias_regularizer": "l1"}, {"kernel_constraint": "unit_norm"}]
)
def test_so_it_does_with_what_layers_ask_of_their_weights(options):
    check_same(lambda: perceptron(**options))


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ("mse", np.eye(CLASSES)[Y]),
        ("categorical_crossentropy", np.eye(CLASSES)[Y]),
        ("binary_crossentropy", np.eye(CLASSES)[Y]),
        ("huber", np.eye(CLASSES)[Y]),
        ("cosine_similarity", np.eye(CLASSES)[Y]),
        (nn.MSELoss(), np.eye(CLASSES, dtype="float32")[Y]),
    ],
)
def test_so_it_does_with_any_known_loss(loss, targets):
    check_same(
        lambda: Sequential([Input(shape=(FEATURES,)), Dense(8, activation="relu"), Dense(CLASSES, activation="sigmoid")]),
        X,
        targets,
        loss=loss,
    )


def test_so_it_does_with_weights_of_samples():
    check_same(perceptron, sample_weight=np.linspace(0, 2, ROWS), weighted_metrics=["accuracy"])


@pytest.mark.parametrize(
    "optimizer", [{"class_name": "Adam", "config": {"global_clipnorm": 0.1}}, {"class_name": "SGD", "config": {"loss_scale_factor": 8.0}}]
)
def test_so_it_does_with_what_the_optimizer_does_to_gradients(optimizer):
    check_same(perceptron, optimizer=optimizer)


def test_so_it_does_with_gradients_gathered_over_batches():
    check_same(perceptron, gradient_accumulation_steps=2)


def test_so_it_does_behind_layers_without_weights():
    def make() -> Model:
        x = Input(shape=(3, 2))
        scaled = Rescaling(0.5)(Lambda(lambda t: t * 2)(x))
        return Model(x, Dense(CLASSES, activation="softmax")(ReLU()(Dense(4)(Dropout(0.2)(Flatten()(scaled))))))

    check_same(make, X.reshape(ROWS, 3, 2), Y)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_so_it_does_with_dropout(rate):
    def make() -> Model:
        x = Input(shape=(FEATURES,))
        return Model(x, Dense(CLASSES, activation="softmax")(Dropout(rate)(Dense(8, activation="tanh")(x))))

    check_same(make)


def drawn_at_random(seed: int) -> Model:
    """A graph of dense layers, shared and not, sums, joins, dropouts and activations, with two inputs and three outputs."""
    dice = random.Random(seed)
    inputs = [Input(shape=(FEATURES,), name="one"), Input(shape=(4,), name="other")]
    shared = Dense(5, activation="tanh", name="shared")
    values: list[Any] = [shared(Dense(4, use_bias=False)(inputs[0])), shared(inputs[1])]
    choices: list[Callable[[Any, Any], Any]] = [
        lambda one, other: Dense(5, activation=dice.choice(["relu", "sigmoid", None]), use_bias=dice.random() < 0.7)(one),
        lambda one, other: Dense(5)(Concatenate()([one, other, one])),
        lambda one, other: Add()([one, other, dice.choice(values)]),
        lambda one, other: one + other,
        lambda one, other: Dense(5)(torch.cat([one, other], 1)),
        lambda one, other: Dropout(0.25)(one),
        lambda one, other: Activation("relu")(one),
        lambda one, other: shared(Dense(4)(one)),
    ]
    for _ in range(8):
        one, other = dice.choice(values), dice.choice(values)
        values.append(dice.choice(choices)(one, other))
    middle = Dense(2, activation="sigmoid", name="yes")(values[-2])
    return Model(inputs, [Dense(CLASSES, activation="softmax", name="kind")(values[-1]), middle, Dense(1, name="size")(middle)])


@pytest.mark.parametrize("seed", range(12))
def test_graphs_drawn_at_random_learn_the_same(seed):
    x = [X, X[:, :4] - 0.5]
    y = [Y, np.eye(CLASSES)[Y][:, :2], X.sum(1)]
    losses = ["sparse_categorical_crossentropy", "binary_crossentropy", "mse"]
    check_same(lambda: drawn_at_random(seed), x, y, loss=losses, loss_weights=[1.0, 0.5, 0.1], metrics=[["accuracy"], [], ["mae"]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_types_learn_the_same(dtype):
    check_same(lambda: perceptron().to(dtype))


def test_one_output_may_be_read_by_another():
    def make() -> Model:
        x = Input(shape=(FEATURES,))
        first = Dense(4, activation="relu")(x)
        return Model(x, [first, Dense(2)(first), first])

    check_same(make, X, [X[:, :4], X[:, :2], X[:, 2:]], loss="mse")


@pytest.mark.parametrize("options", [{}, {"use_bias": False}])
def test_one_row_of_one_unit_is_taken_for_a_column_too(options):
    x = Input(shape=(FEATURES,))
    check_same(lambda: Model(x, Dense(64, **options)(Dense(1)(x))), X[:1], np.linspace(0, 1, 64)[None], loss="mse")


def beside_its_dropout(rate: float) -> Model:
    x = Input(shape=(FEATURES,))
    hidden = Dense(4, activation="relu")(x)
    return Model(x, [hidden, Dropout(rate)(hidden)])


def test_an_output_has_a_gradient_of_its_own_beside_its_dropout_that_drops_nothing_any_more():
    model = beside_its_dropout(0.5)
    model.compile("sgd", "mse", device="cpu")
    assert uses_hands(model)
    model.layers[2].module.p = 0.0
    outputs = model._training_outputs(torch.from_numpy(X))
    (outputs.predictions[0].sum() + outputs.predictions[1].sum()).backward()
    outputs.back()
    bias = model.layers[1].module.bias
    assert torch.equal(bias.grad, 2.0 * (outputs.predictions[0] > 0).sum(0))


# ---------------------------------------------------------------------- what is by hand, and what is not


def convolutional() -> Model:
    x = Input(shape=(3, 2, 1))
    return Model(x, Dense(CLASSES)(Flatten()(Conv2D(2, 2)(x))))


def embedded() -> Model:
    x = Input(shape=(FEATURES,), dtype="int64")
    return Model(x, Dense(CLASSES)(Flatten()(Embedding(9, 2)(x))))


def normalized() -> Model:
    x = Input(shape=(FEATURES,))
    return Model(x, Dense(CLASSES)(BatchNormalization()(Dense(4)(x))))


def of_sequences() -> Model:
    x = Input(shape=(2, 3))
    return Model(x, Dense(CLASSES)(x))


def masked() -> Model:
    x = Input(shape=(2, 3))
    return Model(x, Activation("linear")(Dense(CLASSES)(Masking()(x))))


def with_activity() -> Model:
    x = Input(shape=(FEATURES,))
    return Model(x, Dense(CLASSES, activity_regularizer="l2")(x))


def broadcast() -> Model:
    x = Input(shape=(FEATURES,))
    return Model(x, Dense(CLASSES)(x) + Dense(1)(x))


def sent_through() -> Model:
    x = Input(shape=(FEATURES,))
    return Model(x, [Dense(CLASSES)(x), Flatten()(x)])


def with_layer_of_ones_own() -> Model:
    class Doubled(Layer):
        def call(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    x = Input(shape=(FEATURES,))
    return Model(x, Dense(CLASSES)(Doubled()(x)))


def of_two_types() -> Model:
    x = Input(shape=(FEATURES,))
    return Model(x, Dense(CLASSES)(x) + Dense(CLASSES, dtype="float64")(x))


def written_to() -> Model:
    x = Input(shape=(FEATURES,))
    scaled = x * 2
    return Model(x, Dense(CLASSES)(scaled) + Dense(CLASSES)(scaled.mul_(3)))


def around(linear: nn.Linear) -> Model:
    x = Input(shape=(FEATURES,))
    return Model(x, Dense(CLASSES)(TorchModuleWrapper(linear)(x)))


def with_transposed_weight() -> Model:
    linear = nn.Linear(FEATURES, 4)
    linear.weight = nn.Parameter(torch.zeros(FEATURES, 4).t())
    return around(linear)


def frozen_in_part() -> Model:
    return around(nn.Linear(FEATURES, 4).requires_grad_(False))


def beside_what_drops_nothing() -> Model:
    return beside_its_dropout(0.0)


def pruned() -> Model:
    return around(prune.random_unstructured(nn.Linear(FEATURES, 4), "weight", 0.5))


@pytest.mark.parametrize(
    "make",
    [
        convolutional,
        embedded,
        normalized,
        of_sequences,
        masked,
        with_activity,
        broadcast,
        sent_through,
        with_layer_of_ones_own,
        of_two_types,
        written_to,
        with_transposed_weight,
        frozen_in_part,
        beside_what_drops_nothing,
        pruned,
    ],
)
def test_autograd_does_what_has_no_rule(make):
    model = make()
    model.compile("sgd", "mse", device="cpu")
    assert not uses_hands(model)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": lambda y_true, y_pred: (y_true - y_pred) ** 2},
        {"loss": ["mse", None]},
        {"jit_compile": True},
        {"precision": "mixed_bfloat16"},
    ],
)
def test_autograd_does_what_others_may_look_into(options):
    x = Input(shape=(FEATURES,))
    hidden = Dense(4)(x)
    outputs = [Dense(1)(hidden), Dense(1)(hidden)] if isinstance(options.get("loss"), list) else Dense(1)(hidden)
    model = Model(x, outputs)
    model.compile("sgd", **{"loss": "mse", "device": "cpu", **options})
    assert not uses_hands(model)


def test_a_loss_of_ones_own_may_ask_how_predictions_came_to_be():
    model = perceptron()
    weight = model.layers[-1].module.weight
    norms = []

    def loss(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(y_pred.sum(), weight, create_graph=True)
        norms.append(gradient.norm().item())
        return (y_true - y_pred) ** 2 + gradient.norm()

    model.compile("sgd", loss, device="cpu")
    model.train_on_batch(X, np.eye(CLASSES)[Y])
    assert len(norms) == 1


def test_what_a_layer_learned_before_data_is_no_weight():
    def make() -> Model:
        layer = Normalization()
        layer.adapt(X)
        x = Input(shape=(FEATURES,))
        return Model(x, Dense(CLASSES, activation="softmax")(layer(x)))

    check_same(make)


# ---------------------------------------------------------------------- giving way to autograd


def compiled(**options: Any) -> Model:
    set_random_seed(0)
    model = perceptron()
    model.compile("sgd", "sparse_categorical_crossentropy", device="cpu", **options)
    assert uses_hands(model)
    return model


def nodes_of(model: Model) -> list[str]:
    """The operations that autograd knows of behind the first prediction of a training step."""
    with torch.enable_grad():
        prediction = model._training_outputs(torch.from_numpy(X)).predictions[0]
    return [] if prediction.grad_fn is None else [type(prediction.grad_fn).__name__]


def test_predictions_have_no_history_but_that_of_the_loss():
    assert nodes_of(compiled()) == []


def test_hooks_on_the_gradient_of_a_weight_have_their_say():
    model = compiled()
    weight = model.layers[1].module.weight
    before = weight.detach().clone()
    handle = weight.register_hook(torch.zeros_like)
    model.train_on_batch(X, Y)
    assert torch.equal(weight, before)
    handle.remove()
    model.train_on_batch(X, Y)
    assert not torch.equal(weight, before)


def test_hooks_after_the_gradient_of_a_weight_run():
    model, seen = compiled(), []
    model.layers[1].module.bias.register_post_accumulate_grad_hook(lambda weight: seen.append(weight.grad.shape))
    model.fit(X, Y, batch_size=8, verbose=0)
    assert seen == [(8,)] * 3


@pytest.mark.parametrize("register", ["register_forward_hook", "register_full_backward_hook"])
def test_hooks_on_a_layer_run(register):
    model, seen = compiled(), []
    getattr(model.layers[2].module, register)(lambda *_: seen.append(1))
    model.fit(X, Y, batch_size=8, verbose=0)
    assert len(seen) == 3


def test_hooks_registered_in_the_middle_of_an_epoch_run():
    model, seen = compiled(), []

    def register(batch: int, logs: Any) -> None:
        if batch == 1:
            model.layers[1].module.weight.register_hook(lambda gradient: seen.append(1))

    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[LambdaCallback(on_batch_begin=register)])
    assert len(seen) == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("batch", [None, 0], ids=["before an epoch", "in its middle"])
def test_weights_that_come_to_lie_otherwise_in_memory_learn_the_same(batch, optimizer):
    """As a kernel read from a file of Keras does, which is assigned transposed."""
    kernel = np.random.default_rng(2).random((FEATURES, 8), dtype=np.float32)

    def trained_with_it() -> list[bytes]:
        model = perceptron()
        model.set_weights([np.full_like(weight, 0.1) for weight in model.get_weights()])
        model.compile(optimizer, "sparse_categorical_crossentropy", device="cpu")

        def assign(number: Any, logs: Any = None) -> None:
            if number == batch:
                model.layers[1].module.weight.data = torch.from_numpy(kernel.copy()).t()

        if batch is None:
            model.train_on_batch(X, Y)
            assign(None)
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0, callbacks=[LambdaCallback(on_batch_begin=assign)])
        return [weight.tobytes() for weight in model.get_weights()]

    found = trained_with_it()
    with autograd_alone():
        assert found == trained_with_it()


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_autocast_and_the_search_for_anomalies_see_the_layers_run():
    model = compiled()
    with torch.autocast("cpu"):
        assert nodes_of(model)
    with torch.autograd.detect_anomaly(check_nan=False):
        assert nodes_of(model)


def test_hooks_on_what_autograd_saves_see_it():
    model, seen = compiled(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: seen.append(tensor) or tensor, lambda tensor: tensor):
        model._training_outputs(torch.from_numpy(X))
    assert seen


def test_hooks_on_a_weight_in_the_place_of_another_run():
    model, seen = compiled(), []
    linear = model.layers[1].module
    linear.weight = nn.Parameter(linear.weight.detach().clone())
    linear.weight.register_hook(lambda gradient: seen.append(1))
    model.train_on_batch(X, Y)
    assert seen == [1]


def test_a_bias_that_is_taken_away_is_not_asked_for():
    model = compiled()
    model.layers[1].module.bias = None
    model.train_on_batch(X, Y)
    assert model.layers[1].module.weight.grad is not None


def test_weights_none_of_which_learns_any_more_are_told_of():
    model = compiled()
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="The loss has no gradient"):
        model.train_on_batch(X, Y)


def test_inputs_that_learn_get_their_gradient():
    model, x = compiled(), torch.from_numpy(X).requires_grad_()
    outputs = model._training_outputs(x)
    outputs.predictions[0].sum().backward()
    assert outputs.back is None and x.grad is not None


def test_frozen_layers_stay_as_they_are():
    model = perceptron()
    model.layers[1].trainable = False
    frozen, learning = model.layers[1].get_weights(), model.layers[2].get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy", device="cpu")
    model.fit(X, Y, verbose=0)
    assert all(map(np.array_equal, frozen, model.layers[1].get_weights()))
    assert not np.array_equal(learning[0], model.layers[2].get_weights()[0])


def test_a_weight_that_stops_learning_in_the_middle_gets_no_gradient():
    model = compiled()
    weight = model.layers[1].module.weight
    model.train_on_batch(X, Y)
    before = weight.detach().clone()
    weight.requires_grad_(False)
    model.train_on_batch(X, Y)
    assert weight.grad is None and torch.equal(weight, before)


# ---------------------------------------------------------------------- manners


def test_gradients_are_where_torch_leaves_them():
    model = compiled()
    model.train_on_batch(X, Y)
    expected = perceptron()
    expected.set_weights(model.get_weights())
    model.train_on_batch(X, Y)
    F.cross_entropy(expected.lowered(torch.from_numpy(X)).log(), torch.from_numpy(Y)).backward()
    for ours, torchs in zip(model.parameters(), expected.parameters(), strict=True):
        assert ours.grad.is_contiguous() and not ours.grad.requires_grad
        torch.testing.assert_close(ours.grad, torchs.grad)


def test_a_failed_forward_pass_leaves_gradients_switched_on():
    model = compiled()
    with pytest.raises(RuntimeError), torch.enable_grad():
        model._views["training"].run(torch.ones(2, FEATURES + 1))
    with torch.enable_grad():
        assert nodes_of(model) == []
    assert torch.is_grad_enabled()


def test_an_interrupt_as_gradients_are_switched_off_leaves_them_on():
    view = compiled()._views["training"]
    *_, back = view.run(torch.from_numpy(X))
    names = view.run.__globals__
    switch = names["set_grad_enabled"]

    def interrupted(mode: bool) -> None:
        switch(mode)
        if not mode:
            raise KeyboardInterrupt

    names["set_grad_enabled"] = interrupted
    with torch.enable_grad():  # which puts back what was before, but not before it is asked
        for step in (back, partial(view.run, torch.from_numpy(X))):
            with pytest.raises(KeyboardInterrupt):
                step()
            assert torch.is_grad_enabled()


def test_nothing_is_kept_of_a_step():
    model = compiled()
    outputs = model._training_outputs(torch.from_numpy(X))
    outputs.predictions[0].sum().backward()
    outputs.back()
    assert outputs.back.args == ([],)


def test_an_operation_without_a_rule_leaves_the_view_as_it_is():
    model = convolutional()
    model.compile("sgd", "mse", device="cpu")
    view = model._views["training"]
    assert isinstance(view, Flat) and by_hand(view) is view


def test_an_evaluation_and_a_prediction_are_those_of_the_view():
    model = compiled()
    figures, predictions = model.evaluate(X, Y, verbose=0), model.predict(X)
    with autograd_alone():
        assert figures == model.evaluate(X, Y, verbose=0)
        np.testing.assert_allclose(predictions, model.predict(X), rtol=4 * np.finfo("float32").eps)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_dropped_is_dropout(share, training):
    x = torch.from_numpy(X).requires_grad_()
    torch.manual_seed(0)
    expected = F.dropout(x, share, training)
    torch.manual_seed(0)
    with torch.no_grad():
        y, factors = dropped(x.detach(), share, training)
    assert torch.equal(y, expected)
    expected.sum().backward()
    assert torch.equal(torch.ones_like(x) if factors is None else factors, x.grad)
    assert y is not x
