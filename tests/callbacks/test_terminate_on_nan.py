"""`TerminateOnNaN`: a training whose loss is no number ends."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import Callback, TerminateOnNaN, terminate_on_nan
from torchkeras_fn.layers import Dense

X, Y = np.ones((8, 1), dtype="float32"), np.arange(8, dtype="float32")


def compiled():
    x = Input(shape=(1,))
    model = Model(x, Dense(1)(x))
    model.compile("sgd", "mse")
    return model


class Count(Callback):
    batches = 0
    trained = False

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def on_train_end(self, logs=None):
        self.trained = True


def targets(bad, at):
    return np.where(np.arange(8) == at, bad, Y).astype("float32")


@pytest.fixture(params=["host", "device"])
def lag(request, monkeypatch):
    """How many batches later a loss is looked at: on the host at once; as if it were on a device, one later."""
    if request.param == "device":
        send = terminate_on_nan.sent
        monkeypatch.setattr(terminate_on_nan, "_is_on_host", lambda loss: False)
        monkeypatch.setattr(terminate_on_nan, "sent", lambda loss: send(torch.as_tensor(loss)))
    return int(request.param == "device")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_the_training_ends_with_the_batch(bad, at, lag, capsys):
    count = Count()
    history = compiled().fit(X, targets(bad, at), batch_size=1, shuffle=False, epochs=3, verbose=0, callbacks=[TerminateOnNaN(), count])
    assert count.batches == at + 1 + lag and count.trained
    assert history.epoch == [0] and not np.isfinite(history.history["loss"][0])
    assert capsys.readouterr().out == f"Batch {at}: Invalid loss, terminating training\n"


def test_the_last_batch_of_an_epoch_ends_it_too(lag):
    history = compiled().fit(X, targets(float("nan"), 7), batch_size=1, shuffle=False, epochs=3, verbose=0, callbacks=[TerminateOnNaN()])
    assert history.epoch == [0]


def test_an_error_instead(lag):
    count = Count()
    with pytest.raises(RuntimeError, match="Batch 2: NaN or Inf loss encountered: nan"):
        compiled().fit(
            X, targets(float("nan"), 2), batch_size=1, shuffle=False, verbose=0, callbacks=[count, TerminateOnNaN(raise_error=True)]
        )
    assert count.batches == 3 + lag and not count.trained


@pytest.mark.parametrize("raise_error", [False, True])
def test_numbers_are_no_reason_to_stop(raise_error, lag):
    assert compiled().fit(X, Y, epochs=2, verbose=0, callbacks=[TerminateOnNaN(raise_error)]).epoch == [0, 1]


def test_what_was_seen_last_is_forgotten_by_the_next_training(lag):
    class Interrupt(Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    callback = TerminateOnNaN()
    with pytest.raises(KeyboardInterrupt):  # before a device's loss was looked at
        compiled().fit(X, targets(float("nan"), 0), verbose=0, callbacks=[callback, Interrupt()])
    assert compiled().fit(X, Y, epochs=2, verbose=0, callbacks=[callback]).epoch == [0, 1]


def test_logs_without_a_loss_are_passed_over():
    TerminateOnNaN().on_batch_end(0, {})
    TerminateOnNaN().on_batch_end(0)
