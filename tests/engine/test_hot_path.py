"""The hot path of `fit`: nothing is read from the device in a silent step, and hardly more is computed than by hand."""

import gc
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from torchkeras_fn import Model, Trainer
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.layers import Dense, Input

BATCH_SIZE, STEPS, FEATURES, CLASSES = 32, 8, 20, 10

# What reads the device, or makes the host wait until it can: the value of a scalar, a shape that depends on values,
# and comparisons of whole tensors. A copy between devices is `_to_copy` or `copy_` with another device.
SYNCS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount")

# Views and bookkeeping: no kernel runs.
FREE = ("detach", "t", "view", "alias", "_unsafe_view", "transpose", "expand", "unsqueeze", "squeeze", "split", "slice", "select")


class Recorder(TorchDispatchMode):
    """Counts the operations of whole training steps, and those of them that make the host wait for the device.

    A step reaches from one use of the weight of the first `nn.Linear` to the next, and so includes the gathering of the next
    batch. The first step is left out: the optimizer and the metrics make their state then. There is no hook on a module,
    which would let the public path run.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.syncs: Counter[str] = Counter()
        self.forward_passes = 0
        self.module = module
        self.first = next(part for part in module.modules() if isinstance(part, nn.Linear))

    @property
    def active(self) -> bool:
        """Whether this operation belongs to a step that counts."""
        return 1 < self.forward_passes < STEPS

    @property
    def steps(self) -> int:
        """The number of steps that count."""
        return self.forward_passes - 2

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        namespace, name = function.namespace, function._schema.name.partition("::")[2]
        self.forward_passes += name == "t" and args[0] is self.first.weight and self.module.training
        if self.active and namespace == "aten":
            self.operations[name] += 1
            if is_sync(name, (args, result)):
                self.syncs[name] += 1
        return result

    def kernels(self) -> float:
        """Return the number of operations per step that do work."""
        return sum(count for name, count in self.operations.items() if name not in FREE) / self.steps


def is_sync(name: str, tensors: Any) -> bool:
    """Return whether an operation makes the host wait for the device."""
    return name in SYNCS or (name in ("copy_", "_to_copy") and len(devices_of(tensors)) > 1)


def devices_of(tree: Any) -> set[str]:
    leaves = torch.utils._pytree.tree_leaves(tree)
    return {leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor)}


def make_data(samples: int = BATCH_SIZE * STEPS) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.random((samples, FEATURES), dtype=np.float32), generator.integers(0, CLASSES, samples)


def drawn() -> Model:
    inputs = Input(shape=(FEATURES,))
    hidden = Dense(64, activation="relu")(inputs)
    hidden = Dense(64, activation="relu")(hidden)
    return Model(inputs, Dense(CLASSES, activation="softmax")(hidden))


class Plain(Trainer, nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def record_fit(model: Any, x: Any, y: Any, **arguments: Any) -> Recorder:
    """Fit in silence for one epoch, and record its steps."""
    with Recorder(model) as recorder:
        model.fit(x, y, batch_size=BATCH_SIZE, epochs=1, verbose=0, **arguments)
    assert recorder.forward_passes == STEPS
    return recorder


def record_by_hand(x: np.ndarray, y: np.ndarray) -> Recorder:
    """Record the steps of the loop that a PyTorch expert would write."""
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    layers = network()
    optimizer = torch.optim.Adam(layers.parameters(), fused=True)
    loss_sum, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    with Recorder(layers) as recorder:
        for index in torch.randperm(len(inputs)).split(BATCH_SIZE):
            batch, wanted = inputs.index_select(0, index), targets.index_select(0, index)
            logits = layers(batch)
            loss = F.cross_entropy(logits, wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum.add_(loss.detach(), alpha=len(index))
            right += (logits.detach().argmax(-1) == wanted).sum()
    assert recorder.forward_passes == STEPS
    return recorder


def test_the_recorder_sees_a_sync() -> None:
    layers = network()
    with Recorder(layers) as recorder:
        for _ in range(STEPS):
            layers(torch.ones(2, FEATURES))
            float(torch.ones(3).sum())
            torch.ones(3).nonzero()
            torch.ones(3, device="meta").copy_(torch.ones(3))
    assert recorder.syncs == {"_local_scalar_dense": STEPS - 2, "nonzero": STEPS - 2, "copy_": STEPS - 2}


@pytest.mark.parametrize("metrics", [None, ["accuracy"], ["accuracy", "sparse_categorical_crossentropy"]])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_silent_step_reads_nothing(optimizer: str, metrics: Any) -> None:
    model = drawn()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=metrics, device="cpu")
    assert not record_fit(model, *make_data()).syncs


def test_a_silent_step_reads_nothing_with_weights_and_clipped_gradients() -> None:
    x, y = make_data()
    model = drawn()
    optimizer = {"class_name": "Adam", "config": {"global_clipnorm": 1.0}}
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"], device="cpu")
    assert not record_fit(model, x, y, sample_weight=np.linspace(0, 1, len(x))).syncs


def test_a_silent_step_reads_nothing_with_several_outputs() -> None:
    x, y = make_data()
    inputs = Input(shape=(FEATURES,))
    hidden = Dense(8, activation="relu")(inputs)
    model = Model(inputs, [Dense(CLASSES, activation="softmax", name="digit")(hidden), Dense(1, name="size")(hidden)])
    losses, metrics = {"digit": "sparse_categorical_crossentropy", "size": "mse"}, {"digit": "accuracy", "size": "mae"}
    model.compile("adam", losses, metrics=metrics, device="cpu")
    assert not record_fit(model, x, {"digit": y, "size": x.sum(1)}).syncs


def test_a_silent_step_reads_nothing_for_a_plain_module() -> None:
    net = Plain()
    net.compile(torch.optim.Adam(net.parameters(), fused=True), nn.CrossEntropyLoss(), metrics=["accuracy"], device="cpu")
    assert not record_fit(net, *make_data()).syncs


def test_a_callback_at_the_end_of_the_epoch_costs_no_sync_in_the_step() -> None:
    class AtTheEnd(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.loss = logs["loss"]

    model, callback = drawn(), AtTheEnd()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    assert not record_fit(model, *make_data(), callbacks=[callback]).syncs
    assert callback.loss > 0


def test_a_step_computes_hardly_more_than_one_by_hand() -> None:
    x, y = make_data()
    model = drawn()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    ours, by_hand = record_fit(model, x, y), record_by_hand(x, y)
    assert ours.kernels() <= by_hand.kernels() + 2, f"beyond the loop by hand: {dict(ours.operations - by_hand.operations)}"


def test_the_short_ways_compute_no_more_than_the_public_ones() -> None:
    """The gradient of the loss is no new 1 each time, and a step of Adam is counted in one operation for all weights."""
    model = drawn()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    recorder = record_fit(model, *make_data())
    per_step = {name: count / recorder.steps for name, count in recorder.operations.items() if name not in FREE}
    assert per_step == {
        "index_select": 2,
        "addmm": 3,
        "relu": 2,
        "_log_softmax": 1,
        "nll_loss_forward": 1,
        "add_": 3,  # the steps, the loss, the hits
        "argmax": 1,
        "eq": 1,
        "count_nonzero": 1,
        "nll_loss_backward": 1,
        "_log_softmax_backward_data": 1,
        "mm": 5,
        "sum": 3,  # the gradients of the biases
        "threshold_backward": 2,
        "_fused_adam_": 1,
    }


def frames_in(function: Callable[[], Any]) -> int:
    """Count the Python functions that are called."""
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    gc.disable()  # which calls functions too, of what it finds
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def drawn_and_compiled(layers: int) -> Model:
    x = h = Input(shape=(4,))
    for _ in range(layers):
        h = Dense(4, activation="relu")(h)
    model = Model(x, h)
    model.compile("adam", "mse")
    return model


def test_a_layer_more_costs_a_model_so_many_frames_however_many_it_has():
    drawn_and_compiled(2)  # what is made once is made
    few, more, many = (frames_in(partial(drawn_and_compiled, layers)) for layers in (20, 40, 80))
    assert (more - few) / 20 < 1650
    assert (many - more) / 40 < 1.02 * (more - few) / 20


def frames_per_step(model: Any, data: Any, **arguments: Any) -> float:
    """Count the Python functions that are called for each further step of a `fit`."""

    def count(steps: int) -> int:
        x, y = (array[: steps * BATCH_SIZE] for array in data)
        return frames_in(lambda: model.fit(x, y, batch_size=BATCH_SIZE, verbose=0, **arguments))

    count(STEPS)
    return (count(STEPS) - count(STEPS // 2)) / (STEPS - STEPS // 2)


@pytest.mark.parametrize(("metrics", "budget"), [(None, 14), (["accuracy"], 18)])
def test_a_step_has_few_frames(metrics: Any, budget: int) -> None:
    model = drawn()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=metrics, device="cpu")
    assert frames_per_step(model, make_data()) <= budget


@pytest.mark.parametrize(("method", "budget"), [("train_on_batch", 27), ("fit", 200)])
def test_a_single_step_has_few_frames_around_it(method: str, budget: int) -> None:
    model, (x, y) = drawn(), make_data()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    x, y = x[:BATCH_SIZE], y[:BATCH_SIZE]
    train = partial(getattr(model, method), x, y, **({"verbose": 0} if method == "fit" else {}))
    for _ in range(2):
        train()
    batch = torch.from_numpy(x), torch.from_numpy(y), None
    assert frames_in(train) - frames_in(lambda: model.train_step(batch)) <= budget


def test_a_layer_called_by_hand_has_few_frames_around_its_module() -> None:
    layer, linear, x = Dense(4), nn.Linear(FEATURES, 4), torch.ones(2, FEATURES)
    layer(x)
    assert frames_in(lambda: layer(x)) - frames_in(lambda: linear(x)) <= 12


@pytest.mark.parametrize("arguments", [{}, {"training": True}])
def test_a_step_of_ones_own_calls_the_model_with_few_frames(arguments: dict[str, bool]) -> None:
    counts = []

    class Own(Model):
        def train_step(self, data: Any) -> Any:
            x, _ = data
            counts.append(frames_in(lambda: self(x, **arguments)))
            return super().train_step(data)

    x, y = make_data()
    inputs = Input(shape=(FEATURES,))
    model = Own(inputs, Dense(CLASSES)(inputs))
    model.compile("sgd", "mse", device="cpu")
    model.fit(x, np.zeros((len(x), CLASSES), np.float32), verbose=0)
    assert counts[-1] <= 30


def test_frames_do_not_grow_with_plain_layers() -> None:
    """Each layer is a line of one function."""

    def frames(depth: int) -> float:
        x = hidden = Input(shape=(FEATURES,))
        for _ in range(depth):
            hidden = Dense(4, activation="relu")(hidden)
        model = Model(x, hidden)
        model.compile("sgd", "mse", device="cpu")
        return frames_per_step(model, (make_data()[0], make_data()[0][:, :4]))

    assert frames(10) == frames(2)


def test_accuracy_costs_what_it_costs_by_hand() -> None:
    """One argmax, one comparison, one sum, one addition."""
    x, y = make_data()
    with_metric, without = drawn(), drawn()
    with_metric.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    without.compile("adam", "sparse_categorical_crossentropy", device="cpu")
    assert record_fit(with_metric, x, y).kernels() - record_fit(without, x, y).kernels() <= 4


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("kind", ["numpy", "on the device"])
def test_a_silent_step_never_waits_for_cuda(kind: str) -> None:
    x, y = (torch.from_numpy(array) for array in make_data())
    data = (x.numpy(), y.numpy()) if kind == "numpy" else (x.cuda(), y.cuda())
    model = drawn()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cuda")
    model.fit(*data, batch_size=BATCH_SIZE, verbose=0)

    def forbid_waiting(module: nn.Module, arguments: Any) -> None:
        nonlocal passes
        passes += 1
        torch.cuda.set_sync_debug_mode("error" if 1 < passes < STEPS else "default")

    passes = 0
    next(part for part in model.modules() if isinstance(part, nn.Linear)).register_forward_pre_hook(forbid_waiting)
    try:
        model.fit(*data, batch_size=BATCH_SIZE, verbose=0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert passes == STEPS
