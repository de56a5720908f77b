"""`EarlyStopping`: when it ends a training, and with which weights."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.callbacks.stand_ins import StandIn, drive
from torchkeras_fn import Input, Model, Trainer
from torchkeras_fn.callbacks import Callback, EarlyStopping
from torchkeras_fn.callbacks.early_stopping import copy_of_weights, restore_weights
from torchkeras_fn.layers import GRU, BatchNormalization, Dense

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), np.random.default_rng(1).normal(size=20).astype("float32")


def compiled(rate=0.01):
    x = Input(shape=(3,))
    model = Model(x, Dense(1)(BatchNormalization(momentum=0.5)(x)))
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = rate
    return model


def curve(*values, name="val_loss"):
    return [{name: value} for value in values]


# ---------------------------------------------------------------------- when


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_patience(patience):
    stopper = EarlyStopping("loss", patience=patience)
    drive(stopper, curve(10.0, 9.0, 8.0, 9.0, 8.9, 8.8, 8.7, 8.6, name="loss"))
    assert stopper.stopped_epoch == 2 + max(patience, 1)


def test_a_better_epoch_gives_the_patience_back():
    stopper = EarlyStopping(patience=2)
    assert not drive(stopper, curve(3, 4, 2, 4, 1, 4)).stop_training
    assert stopper.stopped_epoch == 0 and stopper.wait == 1


def test_the_first_epoch_never_ends_a_training():
    assert not drive(EarlyStopping(baseline=0.5, patience=0), curve(0.9)).stop_training


def test_a_baseline_has_to_be_beaten():
    stopper = EarlyStopping(patience=3, baseline=0.5)
    drive(stopper, curve(0.9, 0.8, 0.7, 0.75, 0.6))
    assert stopper.stopped_epoch == 3
    assert not drive(EarlyStopping(patience=3, baseline=0.5), curve(0.9, 0.4, 0.45, 0.46)).stop_training


def test_min_delta():
    stopper = EarlyStopping(patience=1, min_delta=0.1)
    drive(stopper, curve(1.0, 0.95))
    assert stopper.stopped_epoch == 1


def test_the_first_epochs_may_be_left_out():
    stopper = EarlyStopping(patience=1, start_from_epoch=3)
    drive(stopper, curve(1, 2, 3, 4, 3, 3))
    assert stopper.stopped_epoch == 5 and stopper.best == 3


def test_nan_is_never_better_and_spends_patience():
    stopper = EarlyStopping(patience=2)
    drive(stopper, curve(float("nan"), 1.0, float("nan"), float("nan")))
    assert stopper.stopped_epoch == 3 and stopper.best == 1


def test_more_is_better_with_max():
    stopper = EarlyStopping("val_accuracy", patience=1)
    drive(stopper, curve(0.5, 0.6, 0.55, name="val_accuracy"))
    assert stopper.stopped_epoch == 2 and stopper.best == 0.6


def test_it_begins_anew_when_it_is_used_again():
    stopper = EarlyStopping(patience=1)
    drive(stopper, curve(1, 2))
    assert not drive(stopper, curve(5, 4, 3)).stop_training
    assert (stopper.best, stopper.best_epoch, stopper.wait, stopper.stopped_epoch) == (3, 2, 0, 0)


def test_what_it_says(capsys):
    drive(EarlyStopping(patience=1, verbose=1, restore_best_weights=True), curve(1, 2))
    out = capsys.readouterr().out
    assert out == "Epoch 2: early stopping\nRestoring model weights from the end of the best epoch: 1.\n"
    drive(EarlyStopping(patience=1), curve(1, 2))
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------------- which weights


@pytest.mark.parametrize(
    ("losses", "options", "best"),
    [
        ((0.2, 0.15, 0.1, 0.11, 0.12), {"patience": 2}, 2),
        ((0.9, 0.8, 0.7, 0.71, 0.72, 0.73), {"patience": 5, "baseline": 0.5}, 2),
        ((3, 2, 1), {"patience": 9}, 2),
        ((1, 2, 3), {"patience": 9}, 0),
        ((float("nan"), float("nan")), {"patience": 9}, 0),
        ((1, 2, 3, 2, 5), {"patience": 9, "start_from_epoch": 2}, 3),
    ],
)
def test_the_weights_of_the_best_epoch_are_restored(losses, options, best):
    stopper = EarlyStopping(restore_best_weights=True, **options)
    assert drive(stopper, curve(*losses)).weights == best == stopper.best_epoch


def test_they_are_restored_when_another_callback_ends_the_training():
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    model, best = compiled(rate=0.1), {}
    keep = snapshot_at(0, best)
    model.fit(
        X, Y, epochs=9, verbose=0, callbacks=[EarlyStopping("loss", mode="max", patience=99, restore_best_weights=True), Stop(), keep]
    )
    assert_same(model, best)


def snapshot_at(epoch, into):
    class Keep(Callback):
        def on_epoch_end(self, index, logs=None):
            if index == epoch:
                into.update({name: value.clone() for name, value in self.model.state_dict().items()})

    return Keep()


def assert_same(model, state):
    for name, value in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[name]), name


def test_parameters_and_statistics_are_restored_bit_for_bit():
    model, best, last = compiled(rate=0.05), {}, {}
    stopper = EarlyStopping("loss", mode="max", patience=3, restore_best_weights=True)
    history = model.fit(X, Y, epochs=9, verbose=0, callbacks=[stopper, snapshot_at(0, best), snapshot_at(3, last)])
    assert history.epoch == [0, 1, 2, 3] and stopper.best_epoch == 0
    assert_same(model, best)
    assert all(not torch.equal(best[name], last[name]) for name in best if best[name].is_floating_point())


def test_they_are_restored_when_all_epochs_ran():
    model, best = compiled(rate=0.05), {}
    stopper = EarlyStopping("loss", mode="max", patience=99, restore_best_weights=True)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[stopper, snapshot_at(0, best)])
    assert_same(model, best)


def test_without_the_wish_the_last_weights_stay():
    model, last = compiled(rate=0.05), {}
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[EarlyStopping("loss", mode="max", patience=9), snapshot_at(2, last)])
    assert_same(model, last)


def test_the_best_weights_fit_set_weights():
    model, stopper = compiled(), EarlyStopping("loss", patience=9, restore_best_weights=True)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[stopper])
    assert all(isinstance(weight, torch.Tensor) for weight in stopper.best_weights)
    assert [tuple(weight.shape) for weight in stopper.best_weights] == [weight.shape for weight in model.get_weights()]
    model.set_weights(stopper.best_weights)


def test_a_plain_module_is_restored_as_well():
    class Net(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(3, 1), nn.BatchNorm1d(1)

        def forward(self, x):
            return self.norm(self.linear(x))

    model, best = Net(), {}
    model.compile(torch.optim.SGD(model.parameters(), lr=0.1), "mse")
    model.fit(
        X,
        Y,
        epochs=3,
        verbose=0,
        callbacks=[EarlyStopping("loss", mode="max", restore_best_weights=True, patience=5), snapshot_at(0, best)],
    )
    assert_same(model, best)


def test_training_goes_on_after_weights_were_restored():
    model = compiled()
    stopper = EarlyStopping("val_loss", mode="max", patience=1, restore_best_weights=True)
    model.fit(X, Y, epochs=3, verbose=0, validation_split=0.2, callbacks=[stopper])
    before = model.get_weights()[-1].copy()
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(before, model.get_weights()[-1])


# ---------------------------------------------------------------------- state


def test_a_restored_state_goes_on_as_if_nothing_had_happened():
    losses = curve(3, 2, 2.5, 2.4, 2.3, 2.2)
    whole = EarlyStopping(patience=4, restore_best_weights=True)
    expected = drive(whole, losses)
    for cut in range(1, 5):
        first, second = (EarlyStopping(patience=4, restore_best_weights=True) for _ in range(2))
        model = StandIn()
        drive(first, losses[:cut])
        state = copy.deepcopy(first.state_dict())
        second.set_model(model)
        second.on_train_begin()
        second.load_state_dict(state)
        for epoch in range(cut, len(losses)):
            model.weights = epoch
            second.on_epoch_end(epoch, losses[epoch])
            if model.stop_training:
                break
        second.on_train_end()
        assert second.state_dict() == whole.state_dict() and model.weights == expected.weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": -1}, "'patience' must be an integer of at least 0, got -1"),
        ({"patience": 1.5}, "'patience'"),
        ({"start_from_epoch": -1}, "'start_from_epoch'"),
        ({"baseline": "low"}, "'baseline'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**options)


def test_weights_that_torch_keeps_in_another_order_are_restored():
    x = Input((3, 2))
    model = Model(x, GRU(4)(x))
    before, kept = model.get_weights(), copy_of_weights(model)
    model.set_weights([np.zeros_like(weight) for weight in before])
    restore_weights(model, kept)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_order_of_arguments_is_that_of_keras():
    stopper = EarlyStopping("loss", 0.1, 2, 1, "min", 0.5, True, 3)
    found = [getattr(stopper, name) for name in ("monitor", "patience", "verbose", "mode", "baseline", "restore_best_weights")]
    assert found == ["loss", 2, 1, "min", 0.5, True] and (abs(stopper.min_delta), stopper.start_from_epoch) == (0.1, 3)
