"""`Stepping`: gradients gathered over batches, and the scale of the loss, as `compile` asks for them."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from torchkeras_fn import Model, Sequential, Trainer, layers, optimizers
from torchkeras_fn.callbacks import Callback

SIZE, COUNT = 4, 3
_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(SIZE * COUNT * 2, 5)).astype("float32")
Y = np.tanh(X.sum(1, keepdims=True)).astype("float32")

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: optimizers.Adam(0.01, global_clipnorm=0.5, weight_decay=0.01),
    "rmsprop": lambda: "rmsprop",
    "torch's class": lambda: torch.optim.Adam,
    "torch's partial": lambda: functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "torch's fused": lambda: functools.partial(torch.optim.AdamW, lr=0.01, fused=True),
}


def model_of(optimizer, scale=1.0, **options):
    torch.manual_seed(0)
    model = Sequential([layers.Dense(6, "tanh", input_shape=(5,)), layers.Dense(1)])
    model.compile(optimizer, lambda y_true, y_pred: scale * (y_true - y_pred).square().mean(-1), **options)
    return model


def same_weights(one, other, **tolerance):
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left, right, **tolerance)


# ---------------------------------------------------------------------- gradients gathered over batches


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gathered_batches_are_one_large_batch(name):
    gathered, large = model_of(OPTIMIZERS[name](), gradient_accumulation_steps=COUNT), model_of(OPTIMIZERS[name]())
    history = gathered.fit(X, Y, batch_size=SIZE, epochs=3, verbose=0, shuffle=False).history
    expected = large.fit(X, Y, batch_size=SIZE * COUNT, epochs=3, verbose=0, shuffle=False).history
    same_weights(gathered, large)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)


def test_it_is_the_optimizers_own_argument():
    own, asked = model_of(optimizers.Adam(0.01, gradient_accumulation_steps=3)), model_of("adam", gradient_accumulation_steps=3)
    asked.optimizer.learning_rate = 0.01
    for model in (own, asked):
        model.fit(X, Y, batch_size=2, epochs=2, verbose=0, shuffle=False)
    same_weights(own, asked, rtol=0, atol=0)
    assert own.optimizer.iterations == asked.optimizer.iterations == 8


def test_the_callers_optimizer_keeps_its_own_setting():
    optimizer = optimizers.SGD(0.1)
    model = model_of(optimizer, gradient_accumulation_steps=3)
    assert model.optimizer is optimizer
    assert optimizer.gradient_accumulation_steps is None and optimizer.get_config()["gradient_accumulation_steps"] is None
    model.compile(optimizer, "mse")
    before = model.get_weights()
    model.train_on_batch(X, Y)
    assert optimizer.iterations == 1
    assert not np.array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize("make", [lambda: "sgd", lambda: torch.optim.SGD])
def test_one_batch_is_no_gathering(make):
    one, usual = model_of(make(), gradient_accumulation_steps=1), model_of(make())
    for model in (one, usual):
        model.fit(X, Y, batch_size=SIZE, verbose=0, shuffle=False)
    same_weights(one, usual, rtol=0, atol=0)
    assert one._around_steps is None


@pytest.mark.parametrize("wanted", [1, 3])
def test_another_number_than_the_optimizers_own_is_refused(wanted):
    optimizer = optimizers.SGD(gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match=f"gradient_accumulation_steps={wanted}, but the optimizer was made with .*=2"):
        model_of(optimizer, gradient_accumulation_steps=wanted)
    assert not optimizer.taken
    assert model_of(optimizer, gradient_accumulation_steps=2).optimizer is optimizer


def test_a_torch_optimizer_goes_on_with_what_was_gathered_when_it_is_compiled_again():
    weights = []
    for is_compiled_again in (False, True):
        model = Sequential([layers.Dense(1, use_bias=False, kernel_initializer="ones", input_shape=(1,))])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.compile(optimizer, "mse", gradient_accumulation_steps=2)
        for _ in range(5):
            model.train_on_batch(np.ones((1, 1)), np.zeros((1, 1)))
            if is_compiled_again:
                model.compile(optimizer, "mse", gradient_accumulation_steps=2)
        weights.append(model.get_weights()[0].item())
    assert weights == pytest.approx([0.64, 0.64])


def test_the_users_torch_optimizer_stays_his():
    model = model_of("sgd")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for options in ({"gradient_accumulation_steps": 3}, {"gradient_accumulation_steps": 2, "precision": "mixed_float16"}, {}):
        model.compile(optimizer, "mse", **options)
        assert model.optimizer is optimizer
        model.fit(X, Y, batch_size=SIZE, verbose=0)
        hooks = len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks)
        assert hooks == ((1, 1) if options else (0, 0))
    model.compile("sgd", "mse")
    assert model._around_steps is None


class OwnStep(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(5, 1)

    def forward(self, x):
        return self.linear(x)

    def train_step(self, batch):
        x, y, _ = batch
        loss = 0.1 * (self(x) - y).square().mean()  # which does not overflow in float16 with the first scale
        self.optimizer.zero_grad()
        self.scale_loss(loss).backward()
        self.optimizer.step()
        return {"loss": loss.detach()}


@pytest.mark.parametrize("optimizer", ["sgd", functools.partial(torch.optim.SGD, lr=0.01)])
@pytest.mark.parametrize("precision", [None, "mixed_float16"])
def test_a_step_of_the_users_gathers_too(optimizer, precision):
    gathered, large = OwnStep(), OwnStep()
    gathered.compile(optimizer, "mse", gradient_accumulation_steps=COUNT, precision=precision)
    large.compile(optimizer, "mse", precision=precision)
    gathered.fit(X, Y, batch_size=SIZE, verbose=0, shuffle=False)
    large.fit(X, Y, batch_size=SIZE * COUNT, verbose=0, shuffle=False)
    same_weights(gathered, large, **({} if precision is None else {"rtol": 0, "atol": 1e-4}))  # sums in float16 go in another order


@pytest.mark.parametrize("options", [{"gradient_accumulation_steps": 2}, {"precision": "mixed_float16"}])
@pytest.mark.parametrize("make", [lambda model: torch.optim.LBFGS, lambda model: torch.optim.LBFGS(model.parameters())])
def test_steps_with_a_closure_are_refused(make, options):
    model = OwnStep()
    with pytest.raises(ValueError, match="computes its gradients itself"):
        model.compile(make(model), "mse", **options)
    assert model.optimizer is None
    model.compile(make(model), "mse", **({**options, "auto_scale_loss": False} if "precision" in options else {}))


# ---------------------------------------------------------------------- the scale of the loss

TINY = 1e-8
"""A factor of the loss that makes gradients which float16 holds as 0: its smallest number is 6e-8."""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_too_small_for_float16_train_with_a_scale(name):
    usual, scaled, unscaled = (
        model_of(OPTIMIZERS[name](), TINY, precision=precision, auto_scale_loss=scale)
        for precision, scale in ((None, True), ("mixed_float16", True), ("mixed_float16", False))
    )
    start = usual.get_weights()
    for model in (usual, scaled, unscaled):
        model.train_on_batch(X, Y)
    gradients = [model.layers[0].module.weight.grad for model in (usual, scaled, unscaled)]
    assert 0 < gradients[0].abs().max() < 3e-8
    assert not gradients[2].any()
    torch.testing.assert_close(gradients[1], gradients[0], rtol=2e-2, atol=float(gradients[0].abs().max()) * 2e-2)
    assert any(not np.array_equal(mine, was) for mine, was in zip(scaled.get_weights(), start, strict=True)) or name == "sgd"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_in_float16_goes_as_in_float32(name):
    histories = [  # a loss that overflows with no scale of the beginning, so that all steps are taken
        model_of(OPTIMIZERS[name](), 0.1, precision=precision)
        .fit(X, Y, batch_size=SIZE, epochs=5, verbose=0, shuffle=False)
        .history["loss"]
        for precision in (None, "mixed_float16")
    ]
    np.testing.assert_allclose(histories[1], histories[0], rtol=2e-2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loss_that_overflows_lowers_the_scale_until_it_trains(name):
    """A loss of 1e6 times the scale 2**15 is more than float16 holds: some steps are left out first."""
    seen = []

    class Look(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append([weight.copy() for weight in self.model.get_weights()])

    model = model_of(OPTIMIZERS[name](), 1e6, precision="mixed_float16")
    start = model.get_weights()
    model.fit(X, Y, batch_size=SIZE, epochs=6, verbose=0, callbacks=[Look()])
    assert all(np.array_equal(mine, was) for mine, was in zip(seen[0], start, strict=True))
    assert not np.array_equal(seen[-1][0], start[0])
    assert all(np.isfinite(weight).all() for weights in seen for weight in weights)
    around = model._around_steps
    state = around.state_dict() if around is not None else model.optimizer.state_dict()
    assert 0 < state["scaling"]["scale"] < 2**15
    if isinstance(model.optimizer, optimizers.Optimizer):
        assert model.optimizer.iterations == 36  # steps that were left out count: only the device knows of them


def test_running_means_go_on_after_a_step_that_was_left_out():
    model = model_of(optimizers.SGD(0.01, use_ema=True, ema_overwrite_frequency=3), 1e6, precision="mixed_float16")
    model.fit(X, Y, batch_size=SIZE, epochs=3, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_frozen_layers_and_weights_that_get_no_gradient():
    model = Sequential([layers.Dense(6, input_shape=(5,), trainable=False), layers.Dense(1)])
    for optimizer in ("adam", torch.optim.Adam):
        model.compile(optimizer, "mse", precision="mixed_float16", gradient_accumulation_steps=2)
        frozen, trained = model.layers[0].get_weights(), model.layers[1].get_weights()
        model.fit(X, Y, batch_size=SIZE, verbose=0)
        assert np.array_equal(model.layers[0].get_weights()[0], frozen[0])
        assert not np.array_equal(model.layers[1].get_weights()[0], trained[0])


def test_a_model_with_nothing_to_train():
    model = Sequential([layers.Dense(1, input_shape=(5,), trainable=False)])
    model.compile("adam", "mse", precision="mixed_float16")
    assert model.fit(X, Y, verbose=0).history["loss"][0] > 0


# ---------------------------------------------------------------------- the hot path


class Reads(TorchDispatchMode):
    """Counts how often a number is read from a tensor while the model trains."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function._schema.name in ("aten::_local_scalar_dense", "aten::item", "aten::equal", "aten::nonzero")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["adam", "sgd", functools.partial(torch.optim.Adam, fused=True)])
@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2, "steps_per_execution": 3}])
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_steps_read_nothing_from_the_device(precision, options, optimizer):
    model = model_of(optimizer, precision=precision, **options)
    model.fit(X, Y, batch_size=SIZE, verbose=0)
    counts = []
    for epochs in (1, 3):
        with Reads() as reads:
            model.fit(np.concatenate([X] * epochs), np.concatenate([Y] * epochs), batch_size=SIZE, verbose=0)
        counts.append(reads.count)
    assert counts[0] == counts[1]  # those at the end of the epoch


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", functools.partial(torch.optim.Adam, fused=True)])
def test_steps_never_wait_for_cuda(optimizer, precision):
    model = model_of(optimizer, precision=precision, device="cuda")
    x, y = torch.from_numpy(X).cuda(), torch.from_numpy(Y).cuda()
    model.fit(x, y, batch_size=SIZE, verbose=0)
    passes, last = 0, len(X) // SIZE

    def forbid_waiting(module, arguments):
        nonlocal passes
        passes += 1
        torch.cuda.set_sync_debug_mode("error" if 1 < passes < last else "default")

    next(part for part in model.modules() if isinstance(part, nn.Linear)).register_forward_pre_hook(forbid_waiting)
    try:
        model.fit(x, y, batch_size=SIZE, verbose=0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert passes == last


def test_a_subclass_of_model_that_is_not_built_yet():
    class Later(Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    for optimizer in ("sgd", torch.optim.SGD):
        model = Later()
        model.compile(optimizer, "mse", precision="mixed_float16", gradient_accumulation_steps=2, steps_per_execution=2)
        losses = model.fit(X, Y, batch_size=SIZE, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
