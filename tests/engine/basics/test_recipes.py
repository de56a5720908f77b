"""What is decided once for batches of a kind computes what is decided for each of them, bit by bit."""

import inspect

import numpy as np
import pytest
import torch

from torchkeras_fn import Model, losses, metrics
from torchkeras_fn.engine.basics.recipes import Recipes
from torchkeras_fn.engine.outputs.output import Output
from torchkeras_fn.layers import Dense, Input

CLASSES = 4


def tensors(kind, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(6, CLASSES, generator=generator).to(dtype)
    classes = torch.randint(0, CLASSES, (6,), generator=generator)
    column = torch.rand(6, 1, generator=generator).to(dtype)
    return {
        "classes": (classes, scores),
        "classes in a column": (classes[:, None], scores),
        "narrow classes": (classes.to(torch.uint8), scores),
        "one-hot": (torch.nn.functional.one_hot(classes, CLASSES).to(dtype), scores),
        "numbers": (column.round(), column * 2 - 1),
        "flat numbers": (column[:, 0].round(), column * 2 - 1),
        "whole numbers": (column.round().int(), column * 2 - 1),
        "several numbers": (scores.round(), scores * 2 - 1),
    }[kind]


LOSSES = [
    *((losses.SparseCategoricalCrossentropy(from_logits=True), kind) for kind in ("classes", "classes in a column", "narrow classes")),
    (losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean"), "classes"),
    (losses.CategoricalCrossentropy(from_logits=True), "one-hot"),
    (losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), "one-hot"),
    *((losses.BinaryCrossentropy(from_logits=True), kind) for kind in ("numbers", "flat numbers", "whole numbers", "several numbers")),
    *((losses.MeanSquaredError(), kind) for kind in ("numbers", "flat numbers", "whole numbers", "several numbers")),
    *((losses.MeanAbsoluteError(), kind) for kind in ("numbers", "flat numbers", "several numbers")),
    (losses.Huber(delta=0.3), "several numbers"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=lambda value: getattr(value, "name", value))
def test_a_loss_is_the_same_and_so_are_its_gradients(loss, kind, dtype):
    y_true, y_pred = tensors(kind, dtype)
    recipe = loss.recipe(y_true, y_pred)
    found = []
    for compute in (lambda p: recipe(p, y_true), lambda p: loss.compute(*loss.prepare(y_true, p))):
        prediction = y_pred.clone().requires_grad_()
        value = compute(prediction)
        value.backward()
        found.append((value, prediction.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


class Cubic(losses.MeanSquaredError):
    def call(self, y_true, y_pred):
        return (y_true - y_pred).abs().pow(3).mean(-1)


@pytest.mark.parametrize(
    "loss",
    [
        Cubic(),
        losses.MeanSquaredError(reduction="sum"),
        losses.MeanSquaredError(dtype="float64"),
        losses.BinaryCrossentropy(),
        losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        losses.BinaryFocalCrossentropy(from_logits=True),
        losses.MeanSquaredLogarithmicError(),
    ],
    ids=lambda loss: loss.name,
)
def test_a_loss_that_takes_more_than_a_kernel_has_no_recipe(loss):
    assert loss.recipe(*tensors("numbers")) is None


def test_every_loss_with_a_kernel_is_in_the_table():
    with_kernel = {cls for _, cls in inspect.getmembers(losses, inspect.isclass) if issubclass(cls, losses.Loss) and "kernel" in vars(cls)}
    assert with_kernel - {losses.Loss} == {type(loss) for loss, _ in LOSSES}


METRICS = [
    *((metrics.SparseCategoricalAccuracy, kind, "softmax") for kind in ("classes", "classes in a column", "narrow classes")),
    (metrics.CategoricalAccuracy, "one-hot", "softmax"),
    *((metrics.BinaryAccuracy, kind, "sigmoid") for kind in ("numbers", "flat numbers", "whole numbers")),
]


@pytest.mark.parametrize("on_logits", [False, True])
@pytest.mark.parametrize(("make", "kind", "activation"), METRICS)
def test_a_metric_is_the_same(make, kind, activation, on_logits):
    y_true, y_pred = tensors(kind)
    ours, public = make(), make()
    take = ours.recipe(y_true, y_pred, activation if on_logits else None)
    update = public.on_logits(activation) if on_logits else public.update_state
    for shift in (0, 1):
        take(y_true, y_pred.roll(shift))
        update(y_true, y_pred.roll(shift), None)
    assert ours.result() == public.result() and ours.count == public.count == 12


@pytest.mark.parametrize(
    ("metric", "kind"), [(metrics.BinaryAccuracy(), "several numbers"), (metrics.TopKCategoricalAccuracy(k=2), "one-hot")]
)
def test_a_metric_that_does_not_count_samples_has_no_recipe(metric, kind):
    assert metric.recipe(*tensors(kind)) is None


def test_a_metric_of_the_users_has_no_recipe():
    class Mine(metrics.BinaryAccuracy):
        def compare(self, y_true, y_pred):
            return super().compare(y_true, y_pred)

    assert Mine().recipe(*tensors("numbers")) is None


def test_errors_are_those_of_the_public_way():
    y_true, y_pred = tensors("classes")
    output = Output("digit", losses.SparseCategoricalCrossentropy(from_logits=True), 1.0, [])
    assert output.value(y_pred, None, y_true, None, False) > 0
    with pytest.raises(ValueError, match="Classes are integers between 0 and 3, but the targets hold 9 to 9"):
        output.value(y_pred, None, torch.full((6,), 9), None, False)
    with pytest.raises(ValueError, match="do not fit|are needed"):
        output.value(y_pred, None, torch.zeros(5, dtype=torch.int64), None, False)


def test_batches_of_many_lengths_are_forgotten_in_time():
    decided = []
    recipes = Recipes(lambda y_true, y_pred: decided.append(len(y_true)))
    for length in range(1, 200):
        recipes.of(torch.ones(length), torch.ones(length))
    assert len(decided) == 199 and len(recipes) <= 64


def test_the_short_last_batch_counts_as_much_as_it_has_samples():
    x, y = np.random.default_rng(0).random((10, 3), dtype=np.float32), np.random.default_rng(1).integers(0, 2, 10)
    inputs = Input(shape=(3,))
    model = Model(inputs, Dense(2, activation="softmax")(inputs))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    loss, accuracy = model.evaluate(x, y, batch_size=4, verbose=0)
    whole_loss, whole_accuracy = model.evaluate(x, y, batch_size=10, verbose=0)
    assert accuracy == whole_accuracy == pytest.approx((model.predict(x).argmax(-1) == y).mean())
    assert loss == pytest.approx(whole_loss)
