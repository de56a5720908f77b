"""`Run`: a training that is interrupted again and again, and taken up by a new model each time, ends as if it never was."""

import functools
import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from torchkeras_fn import Input, Model, Sequential, Trainer, layers, optimizers
from torchkeras_fn.callbacks import (
    BackupAndRestore,
    Callback,
    LearningRateScheduler,
    ReduceLROnPlateau,
    SwapEMAWeights,
    TensorBoard,
)
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.metrics import AUC, F1Score, Mean, MeanIoU, Precision, R2Score
from torchkeras_fn.random import SeedGenerator, normal
from torchkeras_fn.saving.own_state import load_own_states, own_states
from torchkeras_fn.utils import Sequence as KerasSequence

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
SAMPLES, SIZE, EPOCHS = 30, 4, 3
_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(SAMPLES, 3)).astype("float32")
Y = (X @ _numbers.normal(size=(3, 2)) > 0).astype("float32")


class Interruption(Exception):
    """What stands for a crash."""


class Interrupt(Callback):
    """Crashes after so many batches, or at the third batch of its second epoch, as the last callback that is told."""

    def __init__(self, after):
        self.after, self.batches, self.epochs = after, 0, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if (self.epochs and batch == 2) if self.after == "second epoch" else self.batches > self.after:
            raise Interruption

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1


def model_of(*inner, optimizer="adam", loss="mse", metrics=("mae",), **options):
    model = Sequential([layers.Input((3,)), layers.Dense(4, "tanh"), *inner, layers.Dense(2, "sigmoid")])
    model.compile(optimizer, loss, metrics=list(metrics), **options)
    return model


def large(y_true, y_pred):
    """A loss that is too large for float16 with the first scales."""
    return 1e5 * (y_true - y_pred).square().mean(-1)


def trained(model, folder, data, callbacks=(), after=10**9, save_freq=1, epochs=EPOCHS, **options):
    told = [BackupAndRestore(folder, save_freq=save_freq), *callbacks, Interrupt(after)]
    return model.fit(**data, epochs=epochs, verbose=0, callbacks=told, **options)


def outcome(model, history):
    weights = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    return repr((history.epoch, history.history)), weights


def is_the_same(make_model, make_data, folder, make_callbacks=list, after=5, save_freq=1, **options):
    """Compare a training with one that is interrupted after every few batches; return how often it was."""
    set_random_seed(1)
    model = make_model()
    expected = outcome(model, trained(model, folder / "whole", make_data(), make_callbacks(), save_freq=save_freq, **options))
    interruptions = 0
    for attempt in itertools.count():
        set_random_seed(1 if attempt == 0 else random.SystemRandom().randrange(2**31))
        model = make_model()
        try:
            history = trained(model, folder / "parts", make_data(), make_callbacks(), after, save_freq, **options)
        except Interruption:
            interruptions += 1
            assert interruptions < 100
            continue
        break
    found = outcome(model, history)
    assert found[0] == expected[0]
    assert found[1].keys() == expected[1].keys()
    for name, values in expected[1].items():
        assert torch.equal(found[1][name], values), name
    return interruptions


# ---------------------------------------------------------------------- data


class Rows(Dataset):
    """Samples with noise from whatever generators are used where they are read."""

    def __init__(self):
        self.own = np.random.default_rng(5)

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        noise = torch.rand(3) + float(np.random.rand()) + random.random() + float(self.own.random())
        return torch.from_numpy(X[index]) + 0.1 * noise, torch.from_numpy(Y[index])


class Stream(IterableDataset):
    def __iter__(self):
        for index in range(SAMPLES):
            yield torch.from_numpy(X[index]) + 0.1 * torch.rand(3), torch.from_numpy(Y[index])


class Batches(KerasSequence):
    """Batches of which everything changes from epoch to epoch."""

    def __init__(self, **options):
        super().__init__(**options)
        self.order, self.generator, self.x = np.arange(SAMPLES), np.random.default_rng(3), X.copy()
        self.names = [("a", 1), ("b", 2), ("c", 3)]
        np.random.shuffle(self.order)

    def __len__(self):
        return SAMPLES // SIZE

    def __getitem__(self, index):
        rows = self.order[index * SIZE : index * SIZE + SIZE]
        noise = np.random.normal(size=(SIZE, 3)) + self.generator.normal(size=(SIZE, 3)) + self.names[0][1] + random.random()
        return self.x[rows] + 0.1 * noise.astype("float32"), Y[rows]

    def on_epoch_end(self):
        np.random.shuffle(self.order)
        random.shuffle(self.names)
        self.x = self.x[self.generator.permutation(SAMPLES)]


class Speaking(Batches):
    """A sequence that says itself what it must know."""

    def state_dict(self):
        return {"order": self.order, "x": self.x, "names": self.names}

    def load_state_dict(self, state):
        vars(self).update(state)

    def __init__(self, **options):
        super().__init__(**options)
        self.x = X[np.random.permutation(SAMPLES)]


class TorchNoise(Batches):
    """A sequence whose noise is torch's, for a model that draws none."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return torch.from_numpy(x) + torch.rand(SIZE, 3), torch.from_numpy(y)


def batches_for_ever():
    own = np.random.default_rng(2)
    while True:
        rows = own.integers(0, SAMPLES, SIZE)
        yield X[rows] + np.random.normal(size=(SIZE, 3)).astype("float32"), Y[rows]


def loader(**options):
    return DataLoader(Rows(), batch_size=SIZE, **{"shuffle": True, **options})


def seeded_loader():
    return loader(generator=torch.Generator().manual_seed(3))


def weighted_loader():
    sampler = WeightedRandomSampler(torch.arange(1.0, SAMPLES + 1), SAMPLES, generator=torch.Generator().manual_seed(4))
    return loader(sampler=sampler, shuffle=False)


IN_PROCESSES = {"workers": 2, "use_multiprocessing": True}
ARRAYS = {"x": X, "y": Y, "batch_size": SIZE}
SOURCES = {
    "arrays": lambda: ARRAYS,
    "arrays, whole batches": lambda: {**ARRAYS, "shuffle": "batch"},
    "arrays, in order": lambda: {**ARRAYS, "shuffle": False},
    "arrays, short epochs": lambda: {**ARRAYS, "steps_per_epoch": 3},
    "arrays, long epochs": lambda: {**ARRAYS, "steps_per_epoch": 11},
    "arrays, split": lambda: {**ARRAYS, "validation_split": 0.3, "validation_freq": 2},
    "arrays, validated by a sequence": lambda: {**ARRAYS, "validation_data": Batches(), "workers": 0},
    "arrays, validated by a loader": lambda: {**ARRAYS, "validation_data": loader(), "validation_steps": 2},
    "arrays, validated by a generator": lambda: {**ARRAYS, "validation_data": batches_for_ever(), "validation_steps": 2},
    "tensors": lambda: {"x": TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), "batch_size": SIZE},
    "data set": lambda: {"x": Rows(), "batch_size": SIZE},
    "data set in whole batches": lambda: {"x": Rows(), "batch_size": SIZE, "shuffle": "batch"},
    "data set in processes": lambda: {"x": Rows(), "batch_size": SIZE, **IN_PROCESSES},
    "stream": lambda: {"x": Stream(), "batch_size": SIZE},
    "loader": lambda: {"x": loader()},
    "loader, seeded": lambda: {"x": seeded_loader()},
    "loader, weighted": lambda: {"x": weighted_loader(), "steps_per_epoch": 5},
    "loader in processes": lambda: {"x": loader(num_workers=2)},
    "loader in lasting processes": lambda: {"x": loader(num_workers=2, persistent_workers=True), "steps_per_epoch": 5},
    "sequence": lambda: {"x": Batches(), "workers": 0},
    "sequence in a thread": lambda: {"x": Batches()},
    "sequence in a thread, short epochs": lambda: {"x": Batches(), "steps_per_epoch": 4, "max_queue_size": 2},
    "sequence in processes": lambda: {"x": Batches(), **IN_PROCESSES},
    "sequence, unshuffled": lambda: {"x": Batches(workers=0), "shuffle": False, "steps_per_epoch": 9},
    "sequence that speaks": lambda: {"x": Speaking()},
    "generator": lambda: {"x": batches_for_ever(), "steps_per_epoch": 6, "workers": 0},
    "generator in a thread": lambda: {"x": batches_for_ever(), "steps_per_epoch": 6},
    "list of batches": lambda: {"x": iter([(X[:SIZE], Y[:SIZE])] * 18), "steps_per_epoch": 6},
}


AFTER_EACH_BATCH = ["arrays", "data set", "loader in processes", "sequence in a thread", "generator"]  # which takes longest


@pytest.mark.parametrize(("source", "save_freq"), [*itertools.product(SOURCES, [3, "epoch"]), *itertools.product(AFTER_EACH_BATCH, [1])])
def test_data(source, save_freq, tmp_path):
    after = 5 if save_freq != "epoch" else "second epoch"
    assert is_the_same(lambda: model_of(layers.Dropout(0.2)), SOURCES[source], tmp_path, after=after, save_freq=save_freq)


def test_noise_of_torch_in_a_thread(tmp_path):
    assert is_the_same(model_of, lambda: {"x": TorchNoise(), "steps_per_epoch": 5}, tmp_path)


def test_data_that_ends_before_the_last_epoch(tmp_path):
    data = [(X[:SIZE], Y[:SIZE])] * 14
    with pytest.warns(UserWarning, match="ended after 2 of the 6 steps"):
        assert is_the_same(model_of, lambda: {"x": iter(data), "steps_per_epoch": 6}, tmp_path, after=3)


def test_a_model_that_is_built_by_the_data(tmp_path):
    def model():
        model = Sequential([layers.Dense(4), layers.Dropout(0.3), layers.Dense(2)])
        model.compile("adam", "mse")
        return model

    for number, data in enumerate((loader, functools.partial(loader, num_workers=2), Batches, seeded_loader)):
        assert is_the_same(model, lambda data=data: {"x": data()}, tmp_path / str(number))


# ---------------------------------------------------------------------- models


class OwnGenerators(layers.Layer):
    """Noise from generators in attributes, one of which is made when it is first needed."""

    def __init__(self):
        super().__init__()
        self.seeds, self.numbers, self.late = SeedGenerator(3), np.random.RandomState(3), None

    def call(self, inputs):
        if not self.training:
            return inputs
        if self.late is None:
            self.late = torch.Generator().manual_seed(1)
        noise = normal((3,), seed=self.seeds).sum() + float(self.numbers.normal()) + torch.rand(1, generator=self.late)
        return inputs + 0.1 * noise


def stateful():
    x = Input(batch_shape=(SIZE, 3))
    y = layers.GRU(4, stateful=True)(layers.Reshape((3, 1))(x))
    model = Model(x, layers.Dense(2)(y))
    model.compile("sgd", "mse")
    return model


class Scaler:
    """A loss scale that moves, as that of mixed precision does."""

    def __init__(self):
        self.scale = 1.0

    def state_dict(self):
        return {"scale": self.scale}

    def load_state_dict(self, state):
        self.scale = state["scale"]


class OwnStep(Trainer, nn.Module):
    """A training step that gathers gradients over three batches, with two optimizers and a scaler."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 4), nn.Linear(4, 2)
        self.second, self.scaler = torch.optim.Adam(self.outer.parameters(), 0.01), Scaler()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        return self.outer(self.inner(x))

    def train_step(self, batch):
        x, y, _ = batch
        loss = ((self(x) - y) ** 2).mean()
        (loss * self.scaler.scale).backward()
        self.steps += 1
        self.scaler.scale *= 1.01
        if int(self.steps) % 3 == 0:
            self.second.step()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.second.zero_grad()
        return {"loss": loss.detach(), "scale": self.scaler.scale}

    def test_step(self, batch):
        x, y, _ = batch
        return {"loss": ((self(x) - y) ** 2).mean()}


class WithClosure(Trainer, nn.Module):
    """Steps that need a closure, of an optimizer whose state is like no weight."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.compile(functools.partial(torch.optim.LBFGS, lr=0.1, max_iter=3), "mse")

    def forward(self, x):
        return self.linear(x)

    def train_step(self, batch):
        x, y, _ = batch

        def closure():
            self.optimizer.zero_grad()
            loss = ((self(x) - y) ** 2).mean()
            loss.backward()
            return loss

        return {"loss": self.optimizer.step(closure).detach()}


class WithSeveral(Trainer, nn.Module):
    """A step with an optimizer for each of its parts, which learns in its first step what it trains, as in Keras' own examples."""

    def __init__(self, keep, make=optimizers.Adam):
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 2)])
        self.kept = keep([make(learning_rate=0.01), make(learning_rate=0.05)])
        self.seen = {"size": Mean(name="size")}
        self.compile("sgd", "mse")

    def forward(self, x):
        return self.parts[1](self.parts[0](x))

    def train_step(self, batch):
        x, y, _ = batch
        for part, optimizer in zip(self.parts, self.kept.values() if isinstance(self.kept, dict) else self.kept, strict=True):
            loss = ((self(x) - y) ** 2).mean()
            gradients = torch.autograd.grad(loss, list(part.parameters()))
            optimizer.apply_gradients(zip(gradients, part.parameters(), strict=True))
        self.seen["size"].update_state(x.abs().mean())
        return {"loss": loss.detach(), "size": self.seen["size"].result()}


class WithTorchsSeveral(WithSeveral):
    """The same with optimizers of torch's and a schedule."""

    def __init__(self):
        super().__init__(list)
        self.kept = [Stepping(torch.optim.Adam(part.parameters(), 0.05)) for part in self.parts]
        self.schedules = (torch.optim.lr_scheduler.StepLR(self.kept[0].optimizer, 3, 0.5),)

    def train_step(self, batch):
        figures = super().train_step(batch)
        self.schedules[0].step()
        return figures


class Stepping:
    """Keeps an optimizer of torch's, and its state."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.state_dict, self.load_state_dict = optimizer.state_dict, optimizer.load_state_dict

    def apply_gradients(self, pairs):
        for gradient, parameter in pairs:
            parameter.grad = gradient
        self.optimizer.step()


def own_step():
    model = OwnStep()
    model.compile(torch.optim.SGD(model.inner.parameters(), 0.1, momentum=0.5))
    return model


class Plain(Trainer, nn.Module):
    """A module of which it is only known what it returns when it has run."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(2)
        self.compile("adam", "mse", metrics=["accuracy"])

    def forward(self, x):
        return self.norm(self.linear(x))


def test_a_plain_module(tmp_path):
    assert is_the_same(Plain, lambda: {"x": loader()}, tmp_path)


class Additions(layers.Layer):
    def call(self, inputs):
        self.add_metric(inputs.abs().mean(), "size")
        self.add_loss(0.01 * inputs.square().mean())
        return inputs


MODELS = {
    "norm and seeded dropout": lambda: model_of(layers.BatchNormalization(), layers.Dropout(0.3, seed=2), layers.GaussianNoise(0.1)),
    "generators of its own": lambda: model_of(OwnGenerators()),
    "terms and figures of its own": lambda: model_of(Additions()),
    "metrics": lambda: model_of(metrics=["accuracy", AUC(), F1Score(), R2Score(), Precision(), MeanIoU(2), AUC(multi_label=True)]),
    "stateful": stateful,
    "own step": own_step,
    "several optimizers in a list": lambda: WithSeveral(list),
    "several optimizers in a dict": lambda: WithSeveral(lambda both: dict(zip("ab", both, strict=True)), optimizers.RMSprop),
    "several optimizers of torch's": WithTorchsSeveral,
    "own step with a closure": WithClosure,
    "torch's optimizer": lambda: model_of(optimizer=functools.partial(torch.optim.RAdam, lr=0.01)),
    "gathered gradients": lambda: model_of(optimizer=optimizers.Adam(0.01, gradient_accumulation_steps=3)),
    "gathered gradients as compile was asked": lambda: model_of(gradient_accumulation_steps=3),
    "gathered gradients of torch's optimizer": lambda: model_of(optimizer=torch.optim.RAdam, gradient_accumulation_steps=3),
    "bfloat16": lambda: model_of(layers.Dropout(0.3), precision="mixed_bfloat16"),
    "a scale that moves": lambda: model_of(loss=large, precision="mixed_float16"),
    "a scale that moves, and gathered gradients": lambda: model_of(
        optimizer=torch.optim.Adam, loss=large, precision="mixed_float16", gradient_accumulation_steps=3
    ),
    "running means": lambda: model_of(optimizer=optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=4)),
    "decay": lambda: model_of(optimizer=optimizers.SGD(0.5, momentum=0.9, decay=0.1)),
    "schedule": lambda: model_of(optimizer=optimizers.SGD(optimizers.schedules.CosineDecay(0.5, 20), momentum=0.9)),
    **{name: functools.partial(model_of, optimizer=name) for name in ("rmsprop", "lion", "ftrl", "adagrad", "adadelta", "nadam", "adamax")},
    **{name: functools.partial(model_of, optimizer=name) for name in ("lamb", "adafactor", "adamw")},
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name, tmp_path):
    data = {"x": X[:28], "y": Y[:28], "batch_size": SIZE, "validation_data": (X[:8], Y[:8])}
    assert is_the_same(MODELS[name], lambda: data, tmp_path)
    assert is_the_same(MODELS[name], lambda: data, tmp_path, after="second epoch", save_freq="epoch")


def test_an_optimizer_of_ones_own_goes_back_to_before_its_first_step():
    model = WithSeveral(list)
    states = own_states(model)
    model.fit(X, Y, verbose=0)
    assert all(optimizer.built for optimizer in model.kept)
    load_own_states(model, states)
    assert [int(optimizer.iterations) for optimizer in model.kept] == [0, 0]
    assert not any(optimizer.torch_optimizer.state for optimizer in model.kept)


@pytest.mark.parametrize(
    ("source", "save_freq"),
    [
        *((name, 4) for name in SOURCES if "processes" not in name),
        *((name, freq) for name in ("arrays", "sequence") for freq in (1, "epoch")),
    ],
)
def test_executions_of_several_steps(source, save_freq, tmp_path):
    """A backup is made at the end of an execution."""
    after = "second epoch" if save_freq == "epoch" else 2
    options = {"steps_per_execution": 3, "gradient_accumulation_steps": 2}
    assert is_the_same(lambda: model_of(layers.Dropout(0.2), **options), SOURCES[source], tmp_path, after=after, save_freq=save_freq)


def test_executions_at_the_end_of_data_that_ends_before_the_last_epoch(tmp_path):
    data = [(X[:SIZE], Y[:SIZE])] * 14
    with pytest.warns(UserWarning, match="ended after 2 of the 6 steps"):
        assert is_the_same(lambda: model_of(steps_per_execution=4), lambda: {"x": iter(data), "steps_per_epoch": 6}, tmp_path, after=2)


@pytest.mark.parametrize("option", [{"precision": "mixed_bfloat16"}, {"gradient_accumulation_steps": 3}])
def test_a_backup_of_another_precision_or_number_of_batches_is_refused(option, tmp_path):
    with pytest.raises(Interruption):
        trained(model_of(), tmp_path, ARRAYS, after=3)
    with pytest.raises(ValueError, match=f"made by another training: {next(iter(option))} was not there"):
        trained(model_of(**option), tmp_path, ARRAYS)


# ---------------------------------------------------------------------- callbacks

CALLBACKS = {
    "schedule": lambda: [LearningRateScheduler(lambda epoch, rate: rate * 0.9)],
    "schedule by batches": lambda: [LearningRateScheduler(lambda batch: 0.1 / (batch + 1), step="batch")],
    "torch's schedule": lambda: [LearningRateScheduler(functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.7))],
    "torch's schedule by batches": lambda: [
        LearningRateScheduler(functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=100), step="batch")
    ],
    "plateaus": lambda: [ReduceLROnPlateau("loss", patience=0, min_delta=1.0)],
}


@pytest.mark.parametrize("save_freq", [1, "epoch"])
@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks(name, save_freq, tmp_path):
    def model():
        return model_of(optimizer=optimizers.SGD(0.5, momentum=0.9))

    assert is_the_same(model, lambda: ARRAYS, tmp_path, CALLBACKS[name], after=5 if save_freq == 1 else "second epoch", save_freq=save_freq)


def test_a_rate_that_is_lowered_beside_a_decay(tmp_path):
    def model():
        return model_of(optimizer=optimizers.SGD(0.5, momentum=0.9, decay=0.05))

    assert is_the_same(model, lambda: ARRAYS, tmp_path, CALLBACKS["plateaus"], epochs=5)


@pytest.mark.parametrize("save_freq", [1, "epoch"])
def test_swapped_weights(save_freq, tmp_path):
    def model():
        return model_of(optimizer=optimizers.Adam(0.01, use_ema=True))

    def callbacks():
        return [SwapEMAWeights(swap_on_epoch=True)]

    data = {**ARRAYS, "validation_data": (X, Y)}
    assert is_the_same(model, lambda: data, tmp_path, callbacks, after=5 if save_freq == 1 else "second epoch", save_freq=save_freq)


def test_a_callback_that_times_its_epochs(tmp_path):
    pytest.importorskip("tensorboard")
    folders = itertools.count()
    assert is_the_same(
        model_of, lambda: ARRAYS, tmp_path, lambda: [TensorBoard(tmp_path / f"log{next(folders)}", write_steps_per_second=True)]
    )


class StopAt(Callback):
    """Ends the training at a batch, or an epoch."""

    def __init__(self, batch=None, epoch=None):
        self.batch, self.epoch, self.epochs_seen = batch, epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs_seen = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epochs_seen == 1 and batch == self.batch:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.model.stop_training = True


class CrashAtTheEnd(Callback):
    """Crashes before a backup can be removed."""

    def __init__(self, happens):
        self.happens = happens

    def on_train_end(self, logs=None):
        if self.happens.pop(0):
            raise Interruption


@pytest.mark.parametrize("stop", [{"batch": 2}, {"epoch": 1}, {}])
@pytest.mark.parametrize("save_freq", [1, "epoch"])
def test_a_crash_after_the_training_was_stopped(stop, save_freq, tmp_path):
    happens = [False, True, True, False]
    interruptions = is_the_same(
        model_of, lambda: ARRAYS, tmp_path, lambda: [StopAt(**stop), CrashAtTheEnd(happens)], after=100, save_freq=save_freq
    )
    assert interruptions == 2
    assert happens == []


# ---------------------------------------------------------------------- in one process


def test_the_same_objects_go_on(tmp_path):
    def make():
        return model_of(layers.Dropout(0.5), metrics=["accuracy"])

    set_random_seed(1)
    model = make()
    expected = outcome(model, trained(model, tmp_path / "whole", {"x": Batches()}))
    set_random_seed(1)
    model, data = make(), {"x": Batches()}
    for after in (3, 4, 3):
        with pytest.raises(Interruption):
            trained(model, tmp_path / "parts", data, after=after)
    found = outcome(model, trained(model, tmp_path / "parts", data))
    assert found[0] == expected[0]
    assert all(torch.equal(found[1][name], values) for name, values in expected[1].items())


def test_a_backup_does_not_change_a_training(tmp_path):
    outcomes = []
    for callbacks in ([], [BackupAndRestore(tmp_path / "backup", save_freq=2)]):
        set_random_seed(1)
        model = model_of(layers.Dropout(0.5))
        outcomes.append(outcome(model, model.fit(Batches(), epochs=3, verbose=0, callbacks=callbacks)))
    assert outcomes[0][0] == outcomes[1][0]


def test_a_loader_of_the_users_works_afterwards(tmp_path):
    lasting = loader(num_workers=1, persistent_workers=True)
    model_of().fit(lasting, epochs=2, verbose=0, callbacks=[BackupAndRestore(tmp_path / "backup")])
    assert len(list(lasting)) == len(lasting)


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_bar_goes_on(verbose, tmp_path, capfd):
    with pytest.raises(Interruption):
        trained(model_of(), tmp_path, ARRAYS, after=3)
    model_of().fit(**ARRAYS, epochs=1, verbose=verbose, callbacks=[BackupAndRestore(tmp_path, save_freq=1)])
    printed = capfd.readouterr()
    assert ("8/8" in printed.err) if verbose == 1 else ("Epoch 1/1" in printed.out + printed.err)
