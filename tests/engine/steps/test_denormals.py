"""Numbers too small for full precision do not slow a training down, and are left alone outside of it."""

import sys

import numpy as np
import pytest
import torch

from torchkeras_fn import Model
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.engine.steps import denormals
from torchkeras_fn.layers import Dense, Input

pytestmark = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot take such numbers as 0")


def are_kept() -> bool:
    return bool(torch.tensor(1e-40) * torch.tensor(0.5) != 0)


def small_model() -> Model:
    x = Input(shape=(2,))
    model = Model(x, Dense(1)(x))
    model.compile("adam", "mse", device="cpu")
    return model


class Looking(Callback):
    """Notes whether such numbers are kept in a step and between epochs."""

    def __init__(self) -> None:
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(are_kept())

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(are_kept())


def test_they_are_0_in_the_steps_of_a_training_alone():
    looking = Looking()
    small_model().fit(np.ones((4, 2)), np.ones(4), batch_size=4, verbose=0, callbacks=[looking])
    assert looking.seen == [False, True]
    assert are_kept()


def test_they_are_kept_again_after_a_step_that_fails():
    class Failing(Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyError("no")

    with pytest.raises(KeyError):
        small_model().fit(np.ones((4, 2)), np.ones(4), verbose=0, callbacks=[Failing()])
    assert are_kept()


def test_who_takes_them_as_0_for_good_keeps_doing_so():
    torch.set_flush_denormal(True)
    try:
        small_model().train_on_batch(np.ones((4, 2)), np.ones(4))
        assert not are_kept()
    finally:
        torch.set_flush_denormal(False)


def test_running_means_of_gradients_that_are_0_end_at_0():
    model = small_model()
    x, y = np.array([[1.0, 0.0]]), np.array([1.0])
    model.train_on_batch(np.ones((1, 2)), y)
    (kernel, _), optimizer = model.weights, model.optimizer
    for _ in range(1200):
        model.train_on_batch(x, y)
    mean = optimizer.torch_optimizer.state[kernel]["exp_avg"].abs().flatten()
    assert mean[1] == 0  # 0.9 to the power of 1200 of what it was
    assert mean.min() == 0 or mean.min() > sys.float_info.min


def test_it_is_told_whether_something_changed():
    started = denormals.flush()
    try:
        assert started
        assert not denormals.flush()
    finally:
        denormals.restore()
    assert are_kept()
