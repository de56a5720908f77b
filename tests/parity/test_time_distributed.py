"""`TimeDistributed` against the real Keras: outputs, gradients, shapes, and training."""

import keras
import numpy as np
import pytest
import torch

from parity.twins import array, same, twins


def nested(k):
    x = k.Input(shape=(4, 3))
    return k.Model(x, k.layers.Dense(2)(k.layers.Flatten()(k.layers.Dense(5, activation="relu")(x))))


INSIDE = {
    "dense": (lambda k: k.layers.Dense(5, activation="tanh"), (4, 3)),
    "dense of more axes": (lambda k: k.layers.Dense(5), (4, 2, 3)),
    "softmax": (lambda k: k.layers.Dense(5, activation="softmax"), (4, 3)),
    "convolution": (lambda k: k.layers.Conv2D(3, 3, padding="same", strides=2), (3, 5, 6, 2)),
    "channels first": (lambda k: k.layers.Conv1D(3, 3, data_format="channels_first", padding="same"), (3, 2, 6)),
    "pooling": (lambda k: k.layers.MaxPooling2D(), (3, 4, 6, 2)),
    "flatten": (lambda k: k.layers.Flatten(), (3, 4, 2)),
    "reshape": (lambda k: k.layers.Reshape((2, -1)), (3, 8)),
    "normalization": (lambda k: k.layers.LayerNormalization(), (4, 3)),
    "dropout": (lambda k: k.layers.Dropout(0.5), (4, 3)),
    "batch normalization": (lambda k: k.layers.BatchNormalization(), (4, 3)),
    "time distributed": (lambda k: k.layers.TimeDistributed(k.layers.Dense(2)), (4, 3, 5)),
    "sequential": (lambda k: k.Sequential([k.Input(shape=(3,)), k.layers.Dense(4), k.layers.Dense(2)]), (4, 3)),
    "model": (nested, (5, 4, 3)),
    "recurrent": (lambda k: k.layers.GRU(3), (3, 4, 2)),
    "sequences": (lambda k: k.layers.LSTM(3, return_sequences=True), (3, 4, 2)),
}
IN_TRAINING_TOO = INSIDE.keys() - {"dropout", "batch normalization"}


def gradients(model, x):
    inputs = torch.tensor(x, requires_grad=True)
    outputs = model(inputs)
    (outputs * torch.arange(outputs.numel()).reshape(outputs.shape).cos()).sum().backward()
    if isinstance(model, keras.Model):
        weights = [weight.value.grad for weight in model.trainable_weights]
    else:
        weights = [weight.arranged(weight.tensor.grad) for weight in model.named_weights() if weight.tensor.grad is not None]
    return array(outputs), weights, inputs.grad


@pytest.mark.parametrize("knows_steps", [True, False])
@pytest.mark.parametrize("name", INSIDE)
def test_layer(name, knows_steps):
    make, shape = INSIDE[name]

    def recipe(k):
        x = k.Input(shape=shape if knows_steps else (None, *shape[1:]))
        return k.Model(x, k.layers.TimeDistributed(make(k))(x))

    ours, theirs = twins(recipe)
    assert ours.output_shape == theirs.output_shape
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-4)
    if name in IN_TRAINING_TOO:
        for mine, other in zip(gradients(ours.train(), x), gradients(theirs, x), strict=True):
            same(mine, other, 1e-4)


def test_it_trains_alike():
    def recipe(k):
        return k.Sequential(
            [
                k.Input(shape=(5, 6, 1)),
                k.layers.TimeDistributed(k.layers.Conv1D(4, 3, padding="same", activation="relu")),
                k.layers.TimeDistributed(k.layers.Flatten()),
                k.layers.TimeDistributed(k.layers.Dense(4), name="steps"),
                k.layers.GRU(3),
                k.layers.Dense(1),
            ]
        )

    histories, weights = [], []
    random = np.random.default_rng(0)
    x, y = random.normal(size=(16, 5, 6, 1)).astype("float32"), random.normal(size=(16, 1)).astype("float32")
    for model in twins(recipe):
        model.compile(optimizer="sgd", loss="mse")
        histories.append(model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"])
        weights.append(model.get_weights())
    same(histories[0], histories[1], 1e-4)
    same(weights[0], weights[1], 1e-4)


def test_a_mask_is_passed_on_to_later_layers_and_the_loss():
    def recipe(k):
        words = k.Input(shape=(5,), dtype="int32")
        x = k.layers.Embedding(7, 4, mask_zero=True)(words)
        x = k.layers.TimeDistributed(k.layers.Dense(3, activation="tanh"))(x)
        x = k.layers.LSTM(4, return_sequences=True)(x)
        return k.Model(words, k.layers.TimeDistributed(k.layers.Dense(2))(x))

    histories, models = [], twins(recipe)
    random = np.random.default_rng(0)
    x, y = random.integers(0, 7, size=(16, 5)), random.normal(size=(16, 5, 2)).astype("float32")
    same(models[0].predict(x, verbose=0), models[1].predict(x, verbose=0), 1e-4)
    for model in models:
        model.compile(optimizer="sgd", loss="mse")
        histories.append(model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"])
    same(histories[0], histories[1], 1e-4)
