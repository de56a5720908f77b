"""Steps of which a user wrote a part, or all."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Model, Trainer
from torchkeras_fn.layers import Dense, Input
from torchkeras_fn.metrics import Mean

X, Y = np.random.default_rng(0).random((8, 3)).astype("float32"), np.random.default_rng(1).random((8, 1)).astype("float32")
WEIGHT = np.arange(8, dtype="float32")


class Twice(Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 2 * super().compute_loss(x, y, y_pred, sample_weight)


class Modes(Model):
    modes: list[bool] = []

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self.modes.append(training)
        return super().compute_loss(x, y, y_pred, sample_weight, training)


class Logged(Model):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "largest": y_pred.max()}


def drawn(cls=Model, **compiled):
    x = Input(shape=(3,))
    model = cls(x, Dense(1)(x))
    model.set_weights([np.full((3, 1), 0.5), np.zeros(1)])
    model.compile(**{"optimizer": "sgd", "loss": "mse", "metrics": ["mae"], "device": "cpu", **compiled})
    return model


def test_a_loss_of_the_users_trains_and_is_logged():
    own, plain = drawn(Twice), drawn(loss_weights=[2.0])
    for model in (own, plain):
        model.history = model.fit(X, Y, sample_weight=WEIGHT, batch_size=3, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(own.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(own.history.history["loss"], plain.history.history["loss"], rtol=1e-5)
    assert own.history.history["mae"] == pytest.approx(plain.history.history["mae"])
    assert own.evaluate(X, Y, verbose=0) == pytest.approx(plain.evaluate(X, Y, verbose=0), rel=1e-5)
    assert own.train_on_batch(X, Y) == pytest.approx(plain.train_on_batch(X, Y), rel=1e-5)


def test_a_loss_of_the_users_needs_no_other():
    class Own(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, x):
            return self.linear(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return ((y - y_pred) ** 2).mean()

    model = Own()
    model.compile("adam", device="cpu")
    losses = model.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_loss_is_told_the_mode_where_it_asks():
    model = drawn(Modes)
    model.modes.clear()
    model.fit(X, Y, batch_size=8, validation_data=(X, Y), verbose=0)
    assert model.modes == [True, False]


def test_figures_of_the_users_are_logged_beside_the_loss_of_the_step():
    class Both(Twice, Logged):
        pass

    model, plain = drawn(Both), drawn(loss_weights=[2.0])
    logs, known = (each.evaluate(X, Y, return_dict=True, verbose=0) for each in (model, plain))
    assert logs == pytest.approx({**known, "largest": model.predict(X).max()})


class Keras(Model):
    given: list[int] = []

    def train_step(self, data):
        self.given.append(len(data))
        logs = super().train_step(data)
        logs["mine"] = 3.0
        return logs

    def test_step(self, data):
        x, y = data
        self.given.append(2)
        return {"error": (self(x) - y).abs().mean()}

    def predict_step(self, data):
        (x,) = data
        return self(x)


def test_steps_with_an_argument_called_data_are_given_what_keras_gives_them():
    model = drawn(Keras)
    model.given.clear()
    history = model.fit(X, Y, batch_size=8, validation_data=(X, Y), verbose=0).history
    assert model.given == [2, 2] and history["mine"] == [3.0] and set(history) == {"loss", "mae", "mine", "val_error"}
    model.train_on_batch(X, Y, sample_weight=WEIGHT)
    assert model.given == [2, 2, 3]
    assert model.test_on_batch(X, Y) == pytest.approx(np.abs(model.predict(X) - Y).mean())
    np.testing.assert_array_equal(model.predict_on_batch(X), model.predict(X))


def test_a_step_that_keras_data_is_given_to_ends_an_epoch_when_it_says_so():
    class Stops(Model):
        def train_step(self, data):
            self.stop_training = True
            return super().train_step(data)

    model = drawn(Stops)
    model.fit(X, Y, batch_size=1, epochs=5, verbose=0)
    assert model.optimizer.iterations == 1


def test_a_loss_without_a_gradient_is_refused():
    model = drawn(loss=lambda y_true, y_pred: torch.as_tensor(np.mean(np.square(y_true.numpy() - y_pred.detach().numpy()))))
    before = model.get_weights()
    with pytest.raises(ValueError, match="The loss has no gradient"):
        model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    model.layers[1].trainable = False
    model.compile("sgd", "mse", device="cpu")
    model.fit(X, Y, verbose=0)  # which has nothing to learn


def test_metrics_in_attributes_are_metrics_of_the_model():
    model = drawn()
    model.seen = Mean("seen")
    model.seen.update_state(2.0)
    assert [metric.name for metric in model.metrics][-1] == "seen"
    model.evaluate(X, Y, verbose=0)
    model.seen.update_state(2.0)
    assert {name: float(value) for name, value in model.get_metrics_result().items()}["seen"] == 2.0
    model.reset_metrics()
    assert {float(value) for value in model.get_metrics_result().values()} == {0.0}
