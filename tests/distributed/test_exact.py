"""One, two and three processes with the same global batch do the same: loss curves, figures, weights and predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.distributed.job import run
from torchkeras_fn import Input, Model, Trainer
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import LSTM, ActivityRegularization, BatchNormalization, Dense, Embedding
from torchkeras_fn.losses import MeanSquaredError, SparseCategoricalCrossentropy
from torchkeras_fn.metrics import BinaryIoU, F1Score, Precision, R2Score, Recall, RootMeanSquaredError
from torchkeras_fn.utils import Sequence

GLOBAL = 6
"""Rows of a step, all processes together."""


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(count)
    x = random.normal(size=(count, 4)).astype("float32")
    return x, (x.sum(1) + random.normal(size=count) > 0).astype("float32")


class Batches(Sequence):
    """The rows, batch by batch."""

    def __init__(self, x, y, size):
        super().__init__()
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, index):
        part = slice(index * self.size, (index + 1) * self.size)
        return self.x[part], self.y[part]


class Items(Dataset):
    """The rows, one by one."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


class Lazy:
    """Rows that have to be read, as an HDF5 data set."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, index):
        return self.values[index]


def data_of(kind: str, x: Any, y: Any, size: int) -> tuple[Any, ...]:
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    return {
        "arrays": lambda: (x, y),
        "lazy": lambda: (Lazy(x), Lazy(y)),
        "tensors": lambda: (TensorDataset(*tensors),),
        "sequence": lambda: (Batches(x, y, size),),
        "items": lambda: (Items(*tensors),),
        "loader": lambda: (DataLoader(Items(*tensors), batch_size=size),),
        "shuffled loader": lambda: (DataLoader(Items(*tensors), batch_size=size, shuffle=True),),
        "iterable": lambda: (list_of(Batches(x, y, size)),),
    }[kind]()


class list_of:  # noqa: N801
    """The batches of one process, as data that comes as it is."""

    def __init__(self, batches):
        rank, count = dist.get_rank(), dist.get_world_size()
        self.batches = [batches[index] for index in range(rank, len(batches), count)] or [batches[0]][:0]

    def __iter__(self):
        return iter(self.batches)


def drawn() -> Model:
    x = Input(shape=(4,))
    return Model(x, Dense(1, activation="sigmoid")(Dense(5, activation="tanh", kernel_regularizer="l2")(x)))


class Own(Trainer, torch.nn.Module):
    """A plain module with a branch that is not used."""

    def __init__(self):
        super().__init__()
        self.first, self.unused, self.last = torch.nn.Linear(4, 5), torch.nn.Linear(4, 5), torch.nn.Linear(5, 1)

    def forward(self, x):
        return torch.sigmoid(self.last(torch.tanh(self.first(x))))


class Stepping(Model):
    """A model with a training step of its own."""

    def train_step(self, batch):
        x, y, weight = batch
        loss = self.compute_loss(x, y, self(x), weight)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self.compute_metrics(x, y, self(x), weight)


def stepping() -> Stepping:
    x = Input(shape=(4,))
    return Stepping(x, Dense(1, activation="sigmoid")(Dense(5, activation="tanh")(x)))


MODELS = {"drawn": drawn, "own": Own, "stepping": stepping}


def train(model="drawn", kind="arrays", samples=20, optimizer="adam", options=(), compiling=(), validation=0, seed=7) -> Any:
    """Train, evaluate and predict; return all that comes of it."""
    count = dist.get_world_size()
    size = GLOBAL // count
    set_random_seed(seed)
    net = MODELS[model]() if isinstance(model, str) else model()
    compiling = {"loss": "binary_crossentropy", "metrics": ["accuracy", "AUC", "mse"], **dict(compiling)}
    net.compile(optimizer, **compiling)
    x, y = rows(samples)
    options = {"epochs": 2, "verbose": 0, "shuffle": kind not in ("iterable", "sequence"), **dict(options)}
    if validation:
        options["validation_data"] = data_of(kind, *rows(validation), size)
        if len(options["validation_data"]) == 1:
            options["validation_data"] = options["validation_data"][0]
    history = net.fit(*data_of(kind, x, y, size), batch_size=size, **options).history
    evaluated = net.evaluate(*data_of(kind, x, y, size), batch_size=size, verbose=0, return_dict=True)
    predicted = net.predict(data_of(kind, x, y, size)[0], batch_size=size)
    return history, evaluated, predicted, [value.detach().numpy().copy() for value in net.state_dict().values()]


def several(cases: list[dict[str, Any]]) -> list[Any]:
    return [train(**case) for case in cases]


def check(cases: list[dict[str, Any]], processes=(2, 3), tolerance=2e-5) -> None:
    wanted = run(several, 1, cases)[0]
    for count in processes:
        for rank, found in enumerate(run(several, count, cases)):
            for case, one, other in zip(cases, wanted, found, strict=True):
                try:
                    same(one, other, tolerance)
                except AssertionError as error:
                    raise AssertionError(f"{case}, {count} processes, rank {rank}: {error}") from None


def same(one: Any, other: Any, tolerance: float) -> None:
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            same(mine, theirs, tolerance)
        return
    np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance)


LENGTHS = [1, 2, 3, 5, 7, 12, 13, 20]


def test_arrays_of_any_length():
    check([{"samples": samples, "validation": 1 + samples // 2} for samples in LENGTHS])


@pytest.mark.parametrize("kind", ["lazy", "tensors", "sequence", "items", "loader", "shuffled loader"])
def test_data_of_any_kind(kind):
    check([{"kind": kind, "samples": samples, "validation": 1 + samples // 2} for samples in (1, 2, 5, 7, 12, 13)])


def test_models_of_any_kind():
    check([{"model": model, "samples": samples, "validation": 4} for model in ("own", "stepping") for samples in (1, 5, 7, 12, 20)])
    check([{"model": model, "kind": "sequence", "samples": samples} for model in ("own", "stepping") for samples in (1, 7, 13)])


def normalized() -> Model:
    x = Input(shape=(4,))
    return Model(x, Dense(1, activation="sigmoid")(BatchNormalization(momentum=0.6)(Dense(5)(x))))


def masked(loss_part=None) -> Model:
    x = Input(shape=(4,))
    h = Embedding(9, 3, mask_zero=True)((x * 3).abs().long() % 4)
    h = BatchNormalization(momentum=0.6)(h)
    return Model(x, Dense(1, activation="sigmoid")(LSTM(4, return_sequences=True)(h)).squeeze(-1).mean(-1))


def active() -> Model:
    x = Input(shape=(4,))
    h = ActivityRegularization(l2=0.1)(Dense(5, activation="tanh", activity_regularizer="l2")(x))
    return Model(x, Dense(1, activation="sigmoid")(h))


def test_batch_statistics_of_all_processes():
    told = {"optimizer": "sgd", "compiling": {"sync_batchnorm": True, "metrics": ["mse"]}}
    check([{"model": normalized, "samples": samples, **told} for samples in (1, 2, 7, 13)])
    check([{"model": normalized, "samples": 13, "kind": "sequence", **told}])


def test_batch_statistics_under_a_mask():
    told = {"optimizer": "sgd", "compiling": {"sync_batchnorm": True, "metrics": ["mse"]}}
    check([{"model": masked, "samples": samples, **told} for samples in (7, 13)])


def test_terms_that_are_sums_over_the_batch():
    check([{"model": active, "samples": samples} for samples in (1, 7, 13)])
    losses = [{"compiling": {"loss": MeanSquaredError(reduction=reduction)}} for reduction in ("sum", "mean_with_sample_weight")]
    check([{"samples": samples, "optimizer": "sgd", **loss} for loss in losses for samples in (1, 7, 13)])
    check([{"samples": 7, "optimizer": "sgd", "compiling": {"loss": torch.nn.BCELoss(reduction="sum")}}])


def stepwise() -> Model:
    x = Input(shape=(4,))
    h = LSTM(4, return_sequences=True)(Embedding(4, 3, mask_zero=True)((x * 3).abs().long() % 4))
    return Model(x, Dense(3, activation="softmax")(h))


def train_stepwise(samples: int, ignore: Any, kind: str) -> Any:
    """Train a model with an output for each step, some of which a mask hides, or `ignore_class`."""
    set_random_seed(1)
    net, size, random = stepwise(), GLOBAL // dist.get_world_size(), np.random.default_rng(samples)
    loss = SparseCategoricalCrossentropy(ignore_class=ignore)
    net.compile("sgd", loss, metrics=["accuracy"], weighted_metrics=["sparse_categorical_crossentropy"], distributed=True)
    x, y = random.normal(size=(samples, 4)).astype("float32"), random.integers(0, 3, size=(samples, 4))
    data = (Batches(x, y, size),) if kind == "sequence" else (x, y)
    history = net.fit(*data, batch_size=size, epochs=2, verbose=0, shuffle=False).history
    return history, net.evaluate(*data, batch_size=size, verbose=0), [value.numpy() for value in net.state_dict().values()]


def test_means_over_what_a_mask_shows():
    for samples, ignore, kind in [(1, None, "arrays"), (7, None, "arrays"), (13, 1, "arrays"), (7, None, "sequence"), (13, 2, "sequence")]:
        wanted = run(train_stepwise, 1, samples, ignore, kind)[0]
        for count in (2, 3):
            for found in run(train_stepwise, count, samples, ignore, kind):
                same(wanted, found, 2e-5)


def test_weights_and_metrics():
    metrics = ["accuracy", "AUC", "mse", F1Score(threshold=0.5), Precision(), Recall(), RootMeanSquaredError(), BinaryIoU(), R2Score()]
    weights = np.linspace(0.1, 2, 13).astype("float32")
    parts = {"validation_split": 0.3, "steps_per_epoch": 2, "shuffle": "batch"}
    check(
        [
            {"samples": 13, "compiling": {"metrics": metrics}, "options": {"class_weight": {0: 0.5, 1: 3.0}}},
            {"samples": 13, "compiling": {"weighted_metrics": ["mse", "bce"]}, "options": {"sample_weight": weights}},
            {"samples": 13, "options": parts},
        ]
    )


class Classes(Trainer, torch.nn.Module):
    """Scores of two classes."""

    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.last(x)


@dataclass
class Found:
    """Outputs of which the second has no loss."""

    logits: torch.Tensor
    hidden: torch.Tensor


class InRecords(Classes):
    """A module that returns a dataclass."""

    def forward(self, x):
        logits = self.last(x)
        return Found(logits, 2 * logits)


def train_on_records() -> Any:
    set_random_seed(7)
    net, (x, y) = InRecords(), rows(10)
    net.compile("sgd", {"logits": torch.nn.CrossEntropyLoss()})
    size = GLOBAL // dist.get_world_size()
    return net.fit(x, {"logits": y.astype("int64")}, batch_size=size, shuffle=False, verbose=0).history


def test_a_dataclass_of_outputs():
    wanted = run(train_on_records, 1)[0]
    for found in run(train_on_records, 2):
        same(wanted, found, 2e-5)


def train_with_classes(samples: int, loss: Any) -> Any:
    set_random_seed(7)
    net, (x, y) = Classes(), rows(samples)
    net.compile("sgd", loss, metrics=[loss], weighted_metrics=[loss])
    size = GLOBAL // dist.get_world_size()
    history = net.fit(x, y.astype("int64"), batch_size=size, shuffle=False, verbose=0).history
    return history, [value.detach().numpy().copy() for value in net.state_dict().values()]


def several_with_classes(cases: list[Any]) -> list[Any]:
    return [train_with_classes(*case) for case in cases]


def test_weights_of_classes_in_a_loss_of_torch():
    weighing, ignoring = torch.nn.CrossEntropyLoss(weight=torch.tensor([0.2, 3.0])), torch.nn.CrossEntropyLoss(ignore_index=0)
    cases = [(samples, loss) for samples in (4, 10) for loss in (weighing, ignoring)]
    wanted = run(several_with_classes, 1, cases)[0]
    for count in (2, 3):
        for found in run(several_with_classes, count, cases):
            same(wanted, found, 2e-5)
