"""The tasks of `run.py`: each as a user of this library writes it, and as the tight loop that a PyTorch expert writes by hand."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import Model, Sequential
from torchkeras_fn.layers import LSTM, Concatenate, Conv2D, Dense, Flatten, Input, MaxPooling2D
from torchkeras_fn.utils import Sequence

FEATURES, CLASSES = 784, 10

Run = Callable[[], object]
Task = tuple[Run, Run, int]  # what this library runs, what the hand-written loop runs, and the steps in each
Batch = tuple[Any, Any, int]  # inputs, targets and rows
GENERATOR = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    """Return random numbers between 0 and 1."""
    return GENERATOR.random(shape, dtype=np.float32)


def labels(rows: int, classes: int = CLASSES) -> np.ndarray:
    """Return random labels."""
    return GENERATOR.integers(0, classes, rows)


def compile_classifier(model: Any) -> Any:
    """Compile a model that tells classes apart, and return it."""
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    return model


def dense_model(units: int = 64) -> Model:
    """Return the model of two hidden layers as a user of this library draws it."""
    pixels = Input(shape=(FEATURES,))
    hidden = Dense(units, activation="relu")(pixels)
    hidden = Dense(units, activation="relu")(hidden)
    return compile_classifier(Model(pixels, Dense(CLASSES, activation="softmax")(hidden)))


def dense_network(units: int = 64) -> nn.Sequential:
    """Return the same model in torch, which ends in logits."""
    return nn.Sequential(nn.Linear(FEATURES, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, CLASSES))


def class_losses(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the loss of a classifier."""
    return (F.cross_entropy(logits, targets),)


def class_right(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how many rows a classifier has right."""
    return (logits.detach().argmax(-1) == targets).sum()


class TightLoop:
    """Training by hand with fused Adam, where nothing is read from the device before the end of the epoch.

    `losses_of` returns as many losses as `losses` says. The first is what is trained; the mean of each is kept.
    """

    def __init__(self, network: nn.Module, losses_of: Any = class_losses, right_of: Any = class_right, losses: int = 1):
        self.network, self.losses_of, self.right_of, self.losses = network, losses_of, right_of, losses
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7, fused=True)

    def step(self, inputs: Any, targets: Any) -> tuple[Any, tuple[torch.Tensor, ...]]:
        """Train on a batch, and return the outputs and the losses."""
        outputs = self.network(inputs)
        losses = self.losses_of(outputs, targets)
        self.optimizer.zero_grad(set_to_none=True)
        losses[0].backward()
        self.optimizer.step()
        return outputs, losses

    def epoch(self, batches: Iterable[Batch]) -> list[float]:
        """Train on all batches once, and return the mean losses and the accuracy."""
        totals, total_right, seen = [torch.zeros(()) for _ in range(self.losses)], torch.zeros((), dtype=torch.int64), 0
        right_of = self.right_of
        self.network.train()
        for inputs, targets, rows in batches:
            outputs, losses = self.step(inputs, targets)
            for total, loss in zip(totals, losses, strict=True):
                total.add_(loss.detach(), alpha=rows)
            if right_of is not None:
                total_right += right_of(outputs, targets)
            seen += rows
        means = [total.item() / seen for total in totals]
        return means if right_of is None else [*means, total_right.item() / seen]


def shuffled(inputs: torch.Tensor, targets: torch.Tensor, batch_size: int) -> Iterable[Batch]:
    """Yield the batches of tensors in memory in a random order, with one gather each."""
    for index in torch.randperm(len(inputs)).split(batch_size):
        yield inputs.index_select(0, index), targets.index_select(0, index), len(index)


def fit_arrays(model: Any, loop: TightLoop, x: np.ndarray, y: np.ndarray, batch_size: int, channels_first: bool = False) -> Task:
    """Return the task of an epoch on arrays, where the bare network may want the channels first."""
    inputs = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)) if channels_first else x)
    targets = torch.from_numpy(y)

    def fit() -> object:
        return model.fit(x, y, batch_size=batch_size, verbose=0)

    def tight() -> object:
        return loop.epoch(shuffled(inputs, targets, batch_size))

    return fit, tight, -(-len(x) // batch_size)


def repeated(task: Task, times: int) -> Task:
    """Return the task done several times over."""
    ours, theirs, steps = task

    def repeat(run: Run) -> Run:
        def runs() -> None:
            for _ in range(times):
                run()

        return runs

    return repeat(ours), repeat(theirs), steps * times


def dense(units: int, batch_size: int, steps: int) -> Task:
    """Return the task of an epoch of the model of two hidden layers."""
    x, y = numbers(steps * batch_size, FEATURES), labels(steps * batch_size)
    return fit_arrays(dense_model(units), TightLoop(dense_network(units)), x, y, batch_size)


def regression(steps: int = 400, batch_size: int = 32) -> Task:
    """Return the task of an epoch of a tiny model, where the cost of a step is nearly all overhead."""
    x, y = numbers(steps * batch_size, 20), numbers(steps * batch_size, 1)
    features = Input(shape=(20,))
    model = Model(features, Dense(1)(Dense(16, activation="relu")(features)))
    model.compile("adam", "mse", device="cpu")
    network = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 1))
    loop = TightLoop(network, lambda outputs, targets: (F.mse_loss(outputs, targets),), None)
    return fit_arrays(model, loop, x, y, batch_size)


class TwoByTwo(nn.Module):
    """Two inputs that share a layer, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.kind, self.value = nn.Linear(32, 64), nn.Linear(128, 5), nn.Linear(128, 1)

    def forward(self, inputs: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits and the value."""
        left, right = inputs
        hidden = torch.cat([torch.relu(self.shared(left)), torch.relu(self.shared(right))], -1)
        return self.kind(hidden), self.value(hidden)


def two_losses(outputs: Any, targets: Any) -> tuple[torch.Tensor, ...]:
    """Return the sum of the losses of the two outputs, and each of them."""
    kind, value = F.cross_entropy(outputs[0], targets[0]), F.mse_loss(outputs[1], targets[1])
    return kind + value, kind, value


def two_by_two(steps: int = 200, batch_size: int = 64) -> Task:
    """Return the task of an epoch of a model with two inputs and two outputs."""
    rows = steps * batch_size
    x, y = [numbers(rows, 32), numbers(rows, 32)], [labels(rows, 5), numbers(rows, 1)]
    left, right = Input(shape=(32,), name="left"), Input(shape=(32,), name="right")
    shared = Dense(64, activation="relu")
    hidden = Concatenate()([shared(left), shared(right)])
    model = Model([left, right], [Dense(5, activation="softmax", name="kind")(hidden), Dense(1, name="value")(hidden)])
    losses = {"kind": "sparse_categorical_crossentropy", "value": "mse"}
    model.compile("adam", losses, metrics={"kind": "accuracy"}, device="cpu")
    loop = TightLoop(TwoByTwo(), two_losses, lambda outputs, targets: class_right(outputs[0], targets[0]), losses=3)
    first, second, kinds, values = map(torch.from_numpy, (*x, *y))

    def batches() -> Iterable[Batch]:
        for index in torch.randperm(rows).split(batch_size):
            inputs = first.index_select(0, index), second.index_select(0, index)
            yield inputs, (kinds.index_select(0, index), values.index_select(0, index)), len(index)

    return lambda: model.fit(x, y, batch_size=batch_size, verbose=0), lambda: loop.epoch(batches()), steps


def convolution(steps: int = 8, batch_size: int = 64) -> Task:
    """Return the task of an epoch of a small convolutional model."""
    x, y = numbers(steps * batch_size, 28, 28, 1), labels(steps * batch_size)
    body = [Conv2D(16, 3, activation="relu"), MaxPooling2D(), Conv2D(32, 3, activation="relu"), MaxPooling2D(), Flatten()]
    model = compile_classifier(Sequential([Input(shape=(28, 28, 1)), *body, Dense(CLASSES, activation="softmax")]))
    convolutions = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(800, CLASSES))
    return fit_arrays(model, TightLoop(network), x, y, batch_size, channels_first=True)


class LastOfLSTM(nn.Module):
    """A dense layer on the last output of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.dense = nn.LSTM(16, 64, batch_first=True), nn.Linear(64, CLASSES)

    def forward(self, inputs: torch.Tensor) -> Any:
        """Return the logits."""
        return self.dense(self.recurrent(inputs)[0][:, -1])


def lstm(steps: int = 8, batch_size: int = 64) -> Task:
    """Return the task of an epoch of an LSTM."""
    x, y = numbers(steps * batch_size, 50, 16), labels(steps * batch_size)
    model = compile_classifier(Sequential([Input(shape=(50, 16)), LSTM(64), Dense(CLASSES, activation="softmax")]))
    return fit_arrays(model, TightLoop(LastOfLSTM()), x, y, batch_size)


class Batches(Sequence):
    """Batches that are already made."""

    def __init__(self, steps: int, batch_size: int) -> None:
        self.batches = [(numbers(batch_size, FEATURES), labels(batch_size)) for _ in range(steps)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.batches[index]


def sequence(steps: int = 200, batch_size: int = 32, **arguments: int) -> Task:
    """Return the task of an epoch on a `Sequence`, with further arguments of `fit`."""
    data, model, loop = Batches(steps, batch_size), dense_model(), TightLoop(dense_network())

    def batches() -> Iterable[Batch]:
        for number in torch.randperm(steps).tolist():
            x, y = data[number]
            yield torch.from_numpy(x), torch.from_numpy(y), len(x)

    return lambda: model.fit(data, verbose=0, **arguments), lambda: loop.epoch(batches()), steps


def train_on_batch(times: int = 100, batch_size: int = 32) -> Task:
    """Return the task of training on a batch and reading the loss and the accuracy each time."""
    x, y = numbers(batch_size, FEATURES), labels(batch_size)
    model, loop = dense_model(), TightLoop(dense_network())
    loop.network.train()

    def tight() -> object:
        inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
        logits, losses = loop.step(inputs, targets)
        return losses[0].item(), class_right(logits, targets).item() / len(targets)

    return repeated((lambda: model.train_on_batch(x, y), tight, 1), times)


def predict(batch_size: int, steps: int) -> Task:
    """Return the task of predicting the classes of an array."""
    x = numbers(steps * batch_size, FEATURES)
    model, network, inputs = dense_model(), dense_network().append(nn.Softmax(-1)).eval(), torch.from_numpy(x)

    def tight() -> object:
        with torch.inference_mode():
            outputs = torch.empty(len(inputs), CLASSES)
            for start in range(0, len(inputs), batch_size):
                outputs[start : start + batch_size] = network(inputs[start : start + batch_size])
            return outputs.numpy()

    return lambda: model.predict(x, batch_size=batch_size), tight, steps


# name, with the bar and what makes the task
TASKS: dict[str, tuple[float, Callable[[], Task]]] = {
    "dense-64": (0.78, lambda: dense(64, 32, 200)),
    "dense-512": (0.92, lambda: dense(512, 128, 16)),
    "regression": (0.65, regression),
    "two-by-two": (0.75, two_by_two),
    "convolution": (1.0, convolution),
    "lstm": (1.0, lstm),
    "sequence": (0.75, sequence),
    "sequence-no-workers": (0.75, lambda: sequence(workers=0)),
    "train-on-batch": (0.85, train_on_batch),
    "fit-one-batch": (1.2, lambda: repeated(dense(64, 32, 1), 50)),
    "predict-1024": (1.0, lambda: predict(1024, 16)),
    "predict-32": (0.9, lambda: predict(32, 400)),
}
