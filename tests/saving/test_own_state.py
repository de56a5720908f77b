"""Optimizers, schedules and metrics in attributes: their states go round, and nothing that does not fit is taken."""

import copy

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from torchkeras_fn import Model, Sequential, layers, metrics, optimizers
from torchkeras_fn.saving.own_state import load_own_states, own_states, own_states_loaded

X = np.ones((8, 3), "float32")


class Average:
    """Running means of weights, as people write them."""

    def __init__(self):
        self.means = {}

    def state_dict(self):
        return dict(self.means)

    def load_state_dict(self, state):
        self.means = dict(state)


class Own(Model):
    """With a training step of its own, and all that it needs in attributes."""

    def __init__(self, descent):
        super().__init__()
        self.dense = layers.Dense(1, kernel_initializer="ones")
        self(torch.zeros(1, 3))
        self.steps = {"descent": descent(self.dense)}
        is_torchs = isinstance(self.steps["descent"], torch.optim.Optimizer)
        self.schedule = lr_scheduler.StepLR(self.steps["descent"], 2, 0.5) if is_torchs else None
        self.figures = [metrics.Mean(name="loss")]
        self.average = Average()

    def call(self, inputs):
        return self.dense(inputs)

    def train_step(self, data):
        loss = self(data[0]).square().mean()
        descent = self.steps["descent"]
        self.dense.zero_grad()
        loss.backward()
        if self.schedule is None:
            descent.apply_gradients([(weight.grad, weight) for weight in self.dense.trainable_variables])
        else:
            descent.step()
            self.schedule.step()
        self.average.means["kernel"] = self.average.means.get("kernel", 0) + self.dense.kernel.detach()
        self.figures[0].update_state(loss)
        return {"loss": loss}


def of_torch(dense):
    return torch.optim.Adam(dense.parameters(), 0.1)


def of_keras(dense):
    return optimizers.Adam(0.1)


def trained(descent, batches=3):
    model = Own(descent)
    model.compile("sgd", "mse")
    for _ in range(batches):
        model.train_on_batch(X, X[:, :1])
    return model


@pytest.mark.parametrize("descent", [of_torch, of_keras])
def test_a_checkpoint_holds_what_a_step_of_ones_own_needs_to_go_on(descent, tmp_path):
    first = trained(descent)
    first.save_checkpoint(tmp_path)
    second = trained(descent, batches=0)
    second.load_checkpoint(tmp_path)
    assert float(second.figures[0].result()) == float(first.figures[0].result())
    assert torch.equal(second.average.means["kernel"], first.average.means["kernel"])
    for model in (first, second):
        model.train_on_batch(X, X[:, :1])
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_optimizer_of_a_compiled_model_inside_is_in_a_checkpoint(tmp_path):
    def model():
        outer = Own(of_torch)
        outer.inner = Sequential([layers.Dense(1, input_shape=(3,))])
        outer.inner.compile(optimizers.Adam(0.1), "mse")
        outer.compile("sgd", "mse")
        return outer

    first, second = model(), model()
    first.inner.train_on_batch(X, X[:, :1])
    first.train_on_batch(X, X[:, :1])
    first.save_checkpoint(tmp_path)
    second.load_checkpoint(tmp_path)
    for made in (first, second):
        made.inner.train_on_batch(X, X[:, :1])
    for one, other in zip(first.inner.get_weights(), second.inner.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_file_cannot_hold_is_left_out_with_a_warning(tmp_path):
    model = trained(of_torch)
    model.average.means["function"] = lambda x: x
    with pytest.warns(UserWarning, match="without the state of the model's 'average'"):
        model.save_checkpoint(tmp_path)
    other = trained(of_torch, batches=0)
    other.load_checkpoint(tmp_path)
    assert not other.average.means and other.schedule.last_epoch == 3


def test_a_state_without_a_thing_is_passed_over():
    states = own_states(trained(of_torch))
    model = trained(of_torch, batches=0)
    model.schedule = None
    load_own_states(model, states)
    assert len(model.steps["descent"].state) == 2


def changed(states, *path, value):
    inner = states[""]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return states


@pytest.mark.parametrize(
    ("descent", "path", "value", "message"),
    [
        (of_torch, ("steps.descent", "state", 0, "exp_avg"), torch.ones(5), "exp_avg of weight 0 has shape"),
        (of_keras, ("steps.descent", "trains"), ["dense.weight", "dense.weight"], "is said to train|trained"),
        (of_keras, ("steps.descent", "trains"), [None], "is no weight of the model: call its build|trained"),
        (of_torch, ("schedule", "step"), 3, "no state of the 'schedule'"),
        (of_torch, ("schedule", "step_size"), "two", "'step_size' of 'schedule' is 'two'"),
        (of_torch, ("schedule", "_last_lr"), [torch.cat], "'_last_lr' of 'schedule'"),
        (of_torch, ("figures.0", "plain", "update_state"), 1, "'update_state'"),
        (of_torch, ("figures.0", "places", "total"), 7, "no state of a Mean"),
        (of_torch, ("figures.0", "class"), "AUC", "no state of the 'figures.0'"),
    ],
)
@pytest.mark.parametrize("batches", [0, 1])
def test_what_does_not_fit_changes_nothing(descent, path, value, message, batches):
    model = trained(descent, batches)
    states = changed(copy.deepcopy(own_states(trained(descent))), *path, value=value)
    before = float(model.figures[0].result()), model.average.means.get("kernel")
    with pytest.raises(ValueError, match=message), own_states_loaded(model, states):
        pass
    assert (float(model.figures[0].result()), model.average.means.get("kernel")) == before


def test_all_is_as_before_where_the_block_fails():
    model = trained(of_torch, batches=0)
    with pytest.raises(KeyError), own_states_loaded(model, own_states(trained(of_torch))):
        assert model.schedule.last_epoch == 3
        raise KeyError
    assert model.schedule.last_epoch == 0 and not model.steps["descent"].state and float(model.figures[0].result()) == 0
    assert model.average.means == {}
