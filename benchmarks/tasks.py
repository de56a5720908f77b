"""The tasks of `run.py`: which model is trained or predicts, on which random rows, and the bars. Nothing here knows a framework."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FEATURES, CLASSES = 784, 10

Run = Callable[[int], object]  # does a task so many times over, one after the other
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Task:
    """A model, its data, and what is done with them.

    `kind` says what doing it once means: an epoch of one long `fit` ('epochs'), a whole call of `fit` ('calls'), an epoch on
    batches that are already made ('sequence'), training on one batch and reading the loss and the accuracy
    ('train-on-batch'), or predicting all rows ('predict'). `steps` is how many batches that takes, and `batch_size` their
    rows. `bar` is the ratio to the tight loop that this library should stay below, and `compiled_bar` that of
    `compile(jit_compile=True)`. Further arguments of `fit` are this library's alone, so the peers leave such a task out.
    """

    kind: str
    model: str
    steps: int
    batch_size: int
    bar: float
    compiled_bar: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether the model has one output that tells classes apart."""
        return self.model not in ("regression", "two-by-two")

    def arrays(self) -> tuple[Arrays, Arrays]:
        """Return the inputs and the targets, images with the channels last as Keras has them."""
        return DATA[self.model](self.steps * self.batch_size)

    def batches(self) -> "Batches":
        """Return the same rows as batches that are already made."""
        (x,), (y,) = self.arrays()
        return Batches(np.split(x, self.steps), np.split(y, self.steps))


class Batches:
    """Batches that are already made, as a list of inputs and one of targets."""

    def __init__(self, x: Arrays, y: Arrays) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.x[index], self.y[index]


def repeated(once: Callable[[], object]) -> Run:
    """Return what calls a function so many times, and returns its last answer."""

    def run(times: int) -> object:
        answer = None
        for _ in range(times):
            answer = once()
        return answer

    return run


GENERATOR = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    """Return random numbers between 0 and 1."""
    return GENERATOR.random(shape, dtype=np.float32)


def labels(rows: int, classes: int = CLASSES) -> np.ndarray:
    """Return random labels."""
    return GENERATOR.integers(0, classes, rows)


def pixels(rows: int) -> tuple[Arrays, Arrays]:
    """Return flat images and their labels."""
    return [numbers(rows, FEATURES)], [labels(rows)]


# the inputs and the targets of each model, for a number of rows
DATA: dict[str, Callable[[int], tuple[Arrays, Arrays]]] = {
    "dense-64": pixels,
    "dense-512": pixels,
    "regression": lambda rows: ([numbers(rows, 20)], [numbers(rows, 1)]),
    "two-by-two": lambda rows: ([numbers(rows, 32), numbers(rows, 32)], [labels(rows, 5), numbers(rows, 1)]),
    "convolution": lambda rows: ([numbers(rows, 28, 28, 1)], [labels(rows)]),
    "lstm": lambda rows: ([numbers(rows, 50, 16)], [labels(rows)]),
}

# name, with kind, model, steps, batch size, and the bars
TASKS: dict[str, Task] = {
    "dense-64": Task("epochs", "dense-64", 200, 32, 0.78, 0.70),
    "dense-512": Task("epochs", "dense-512", 16, 128, 0.92, 0.90),
    "regression": Task("epochs", "regression", 400, 32, 0.65, 0.40),
    "two-by-two": Task("epochs", "two-by-two", 200, 64, 0.75, 0.45),
    "convolution": Task("epochs", "convolution", 8, 64, 1.0),
    "lstm": Task("epochs", "lstm", 8, 64, 1.0),
    "sequence": Task("sequence", "dense-64", 200, 32, 0.75),
    "sequence-no-workers": Task("sequence", "dense-64", 200, 32, 0.75, arguments={"workers": 0}),
    "train-on-batch": Task("train-on-batch", "dense-64", 1, 32, 0.85),
    "fit-one-batch": Task("calls", "dense-64", 1, 32, 1.2),
    "predict-1024": Task("predict", "dense-64", 16, 1024, 1.0),
    "predict-32": Task("predict", "dense-64", 400, 32, 0.9),
}
