"""`SwapEMAWeights`: evaluations see the running means, training sees the weights."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import Callback, EarlyStopping, ModelCheckpoint, SwapEMAWeights
from torchkeras_fn.layers import Dense
from torchkeras_fn.models import load_model
from torchkeras_fn.optimizers import SGD

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def compiled(**options):
    x = Input(shape=(3,))
    model = Model(x, Dense(1, use_bias=False, kernel_initializer="zeros")(x))
    model.compile(SGD(0.05, **{"use_ema": True, "ema_momentum": 0.5, **options}), "mse")
    return model


def by_hand(epochs, steps=4):
    """The weights and their running means after each epoch of plain gradient descent on all data at each step."""
    weight = mean = np.zeros((3, 1))
    found = []
    for epoch in range(epochs):
        for step in range(steps):
            weight = weight - 0.05 * 2 / 16 * X.T @ (X @ weight - Y)
            mean = weight if epoch == step == 0 else 0.5 * mean + 0.5 * weight
        found.append((weight, mean))
    return found


def loss(weight):
    return float(np.square(X @ weight - Y).mean())


class Look(Callback):
    """Notes the kernel at some events."""

    def __init__(self, *events):
        self.kernels = {event: [] for event in events}
        for event in events:
            setattr(self, event, lambda *_, event=event: self.kernels[event].append(self.model.get_weights()[0]))


def fit(model, *callbacks, epochs=2, **options):
    repeated = np.concatenate([X] * 4), np.concatenate([Y] * 4)  # four equal steps an epoch
    return model.fit(*repeated, batch_size=16, shuffle=False, epochs=epochs, verbose=0, callbacks=list(callbacks), **options)


def test_the_validation_is_that_of_the_means_and_training_goes_on_with_the_weights():
    look = Look("on_test_batch_end", "on_epoch_end", "on_epoch_begin")
    history = fit(compiled(), SwapEMAWeights(), look, validation_data=(X, Y))
    for epoch, (weight, mean) in enumerate(by_hand(2)):
        np.testing.assert_allclose(look.kernels["on_test_batch_end"][epoch], mean, rtol=1e-4)
        np.testing.assert_allclose(look.kernels["on_epoch_end"][epoch], weight, rtol=1e-4)
        assert history.history["val_loss"][epoch] == pytest.approx(loss(mean), rel=1e-4)


def test_with_swap_on_epoch_the_callbacks_that_follow_see_the_means():
    before, after, begun = Look("on_epoch_end"), Look("on_epoch_end"), Look("on_train_batch_begin")
    fit(compiled(), before, SwapEMAWeights(swap_on_epoch=True), after, begun)
    for epoch, (weight, mean) in enumerate(by_hand(2)):
        np.testing.assert_allclose(before.kernels["on_epoch_end"][epoch], weight, rtol=1e-4)
        np.testing.assert_allclose(after.kernels["on_epoch_end"][epoch], mean, rtol=1e-4)
    np.testing.assert_allclose(begun.kernels["on_train_batch_begin"][4], by_hand(2)[0][0], rtol=1e-4)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
@pytest.mark.parametrize("stop_at", [None, 1])
def test_a_training_leaves_the_means_as_any_with_use_ema_does(swap_on_epoch, stop_at):
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == stop_at

    model, plain = compiled(), compiled()
    fit(model, SwapEMAWeights(swap_on_epoch), Stop(), epochs=4)
    fit(plain, epochs=4 if stop_at is None else stop_at + 1)
    assert np.array_equal(model.get_weights()[0], plain.get_weights()[0])
    assert not model.optimizer.swapped


def test_a_checkpoint_holds_the_means(tmp_path):
    fit(compiled(), SwapEMAWeights(swap_on_epoch=True), ModelCheckpoint(tmp_path / "{epoch}"))
    for epoch, (_, mean) in enumerate(by_hand(2)):
        np.testing.assert_allclose(load_model(tmp_path / f"{epoch + 1}").get_weights()[0], mean, rtol=1e-4)


def test_a_model_that_was_saved_with_its_means_trains_on_with_its_weights(tmp_path):
    whole = Look("on_epoch_end")
    fit(compiled(), whole, SwapEMAWeights(swap_on_epoch=True), ModelCheckpoint(tmp_path / "{epoch}"))
    again, look = load_model(tmp_path / "1"), Look("on_epoch_end")
    fit(again, look, SwapEMAWeights(swap_on_epoch=True), initial_epoch=1)
    assert np.array_equal(look.kernels["on_epoch_end"][0], whole.kernels["on_epoch_end"][1])


def test_early_stopping_restores_the_means():
    stopper = EarlyStopping("loss", mode="max", patience=1, restore_best_weights=True)
    model = compiled()
    fit(model, SwapEMAWeights(swap_on_epoch=True), stopper, epochs=4)
    np.testing.assert_allclose(model.get_weights()[0], by_hand(1)[0][1], rtol=1e-4)


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_evaluate_and_predict_see_the_means_and_give_the_weights_back(call):
    class Within(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.before = self.model.get_weights()[0]
            callbacks = [SwapEMAWeights()]
            self.result = (
                self.model.evaluate(X, Y, verbose=0, callbacks=callbacks)
                if call == "evaluate"
                else self.model.predict(X, callbacks=callbacks)
            )
            self.after = self.model.get_weights()[0]

    within = Within()
    fit(compiled(), within, epochs=1)
    _, mean = by_hand(1)[0]
    np.testing.assert_allclose(within.result, loss(mean) if call == "evaluate" else X @ mean, rtol=1e-4)
    assert np.array_equal(within.before, within.after)


def test_before_the_first_step_there_is_nothing_to_swap():
    model = compiled()
    assert model.evaluate(X, Y, verbose=0, callbacks=[SwapEMAWeights()]) == pytest.approx(loss(np.zeros((3, 1))))


def without_means():
    x = Input(shape=(3,))
    model = Model(x, Dense(1, use_bias=False)(x))
    model.compile(torch.optim.SGD(model.parameters(), lr=0.05), "mse")
    return model


@pytest.mark.parametrize("make", [without_means, lambda: compiled(use_ema=False)])
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_an_optimizer_without_means_is_an_error_at_once(make, call):
    model = make()
    before = model.get_weights()[0]
    with pytest.raises(ValueError, match="SwapEMAWeights must be used when `use_ema=True` is set on the optimizer"):
        getattr(model, call)(*((X,) if call == "predict" else (X, Y)), verbose=0, callbacks=[SwapEMAWeights()])
    assert np.array_equal(before, model.get_weights()[0])
