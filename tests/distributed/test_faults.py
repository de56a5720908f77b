"""A process that fails or dies: the others are told, nobody waits for ever, and a job that starts again ends as one that never failed."""

import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

from tests.distributed import training
from tests.distributed.job import outcomes, run
from torchkeras_fn import Sequential
from torchkeras_fn.callbacks import BackupAndRestore, Callback, LambdaCallback, ModelCheckpoint
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.engine.processes import failures
from torchkeras_fn.engine.processes.failures import ProcessError
from torchkeras_fn.layers import BatchNormalization, Dense, Dropout

ROOT = Path(training.__file__).parents[2]
X = np.random.default_rng(0).normal(size=(22, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def model_of(units=4):
    model = Sequential([Dense(units, "relu", input_shape=(3,)), Dense(1)])
    model.compile("adam", "mse")
    return model


def fit(model, *callbacks, x=X, epochs=3, **options):
    return model.fit(x, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(callbacks), **options)


# ---------------------------------------------------------------------- errors


def fail_at(event, rank):
    """Fail once at an event in one process, and then train on in all."""
    model, failed = model_of(), []

    def fail(*_):
        if dist.get_rank() == rank and not failed:
            failed.append(event)
            raise LookupError(f"nothing at {event}")

    told, seen = LambdaCallback(**{event: fail}), None
    try:
        fit(model, told, validation_data=(X, Y))
        model.evaluate(X, Y, verbose=0, callbacks=[told])
        model.predict(X, callbacks=[told])
    except (LookupError, ProcessError) as error:
        seen = type(error).__name__, str(error)
    fit(model, epochs=1)
    return seen, [weight.tolist() for weight in model.get_weights()]


EVENTS = [f"on_{stage}_{edge}" for stage in ("train", "epoch", "train_batch", "test", "predict") for edge in ("begin", "end")]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_a_callback_of_one_reaches_all_and_they_can_go_on(event, rank):
    found = run(fail_at, 2, event, rank)
    assert found[rank][0] == ("LookupError", f"nothing at {event}")
    assert found[1 - rank][0] == ("ProcessError", f"Process {rank} of 2 failed: LookupError: nothing at {event}")
    assert found[0][1] == found[1][1]


def full_disk(folder):
    path = Path(folder, "file") if dist.get_rank() else Path("/dev/null", "file")
    fit(model_of(), ModelCheckpoint(path))


def no_such_rows():
    fit(model_of(), x=X[:, : 3 - dist.get_rank()])


def two_faults():
    raise_in = [ValueError, KeyError][dist.get_rank()]

    def fail(*_):
        raise raise_in("no good")

    fit(model_of(), LambdaCallback(on_epoch_end=fail))


@pytest.mark.parametrize(
    ("function", "args", "kinds", "words"),
    [
        (full_disk, True, (OSError, ProcessError), "Process 0 of 2 failed: .*Error"),
        (no_such_rows, False, (ProcessError, ValueError), "Process 1 of 2 failed: ValueError"),
        (two_faults, False, (ValueError, KeyError), "no good"),
    ],
    ids=["writing", "opening", "both"],
)
def test_errors_of_one_and_of_both(function, args, kinds, words, tmp_path):
    found = outcomes(function, 2, *([str(tmp_path)] if args else []))
    assert all(isinstance(error, kind) for error, kind in zip(found, kinds, strict=True))
    assert any(re.search(words, str(error)) for error in found)


# ---------------------------------------------------------------------- death


def die(how):
    """Die in the second epoch in one process; the other tells of what it then sees."""

    def now(epoch, logs):
        if epoch == 1 and dist.get_rank() == 1:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt

    try:
        fit(model_of(), LambdaCallback(on_epoch_begin=now), epochs=3)
    except KeyboardInterrupt:
        return "lives on"


@pytest.mark.parametrize(
    ("how", "words"),
    [("kill", "has lost the others"), ("raise, and live on", "Process 1 of 2 failed: KeyboardInterrupt")],
)
def test_who_dies_is_missed(how, words):
    survivor, dead = outcomes(die, 2, how)
    assert isinstance(survivor, ProcessError) and words in str(survivor)
    assert isinstance(dead, ConnectionError) if how != "raise, and live on" else dead == "lives on"


def fail_in_a_step():
    """Fail in one process where the other waits for the gradients, which torch cannot break off, and live on."""
    failures._WATCH_SECONDS = failures._GRACE_SECONDS = 0.2
    model = model_of()
    if dist.get_rank() == 1:
        model.objective.loss = None
    try:
        fit(model)
    except TypeError:
        return "lives on"


def test_who_waits_for_the_gradients_of_one_that_failed_and_lives_on_is_ended():
    waiting, failed = outcomes(fail_in_a_step, 2)
    assert isinstance(waiting, ConnectionError) and failed == "lives on"


def torchrun(restarts, *args, processes=2):
    """Run a module under `torchrun`, and return how it ended."""
    options = ["--standalone", f"--nproc-per-node={processes}", f"--max-restarts={restarts}", "-m"]
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([*command, *args], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = process.communicate(timeout=150)
    finally:
        process.terminate()  # by which torchrun ends its processes
        process.wait(60)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


# ---------------------------------------------------------------------- backups


def test_killed_under_torchrun_and_started_again(tmp_path):
    save_freq, deaths = 3, ["kill:1:7", "raise:0:9"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    expected = run(training.train, 2, str(whole), save_freq)
    ended = torchrun(len(deaths), "tests.distributed.training", str(parts), str(save_freq), *deaths)
    assert ended.returncode == 0, ended.stderr[-5000:]
    assert "LookupError: in the middle of a step" in ended.stderr
    for rank, (figures, weights) in enumerate(expected):
        found = np.load(parts / f"outcome{rank}.npz")
        assert found["attempt"] == len(deaths)
        assert str(found["history"]) == repr(figures)
        assert all(np.array_equal(found[f"w{index}"], weight) for index, weight in enumerate(weights))
    assert {path.name for path in parts.iterdir()} - {"outcome0.npz", "outcome1.npz"} == {path.name for path in whole.iterdir()}
    assert (parts / "log.csv").read_bytes() == (whole / "log.csv").read_bytes()


class StopHere(Callback):
    """Fails in all processes after so many batches."""

    def __init__(self, after):
        self.after = after

    def on_train_batch_end(self, batch, logs=None):
        self.after -= 1
        if not self.after:
            raise InterruptedError


def train_on(folder, save_freq=1, after=0, own_disks=False, global_batch=12, units=4):
    """Train with a backup, in a folder that only one process sees if `own_disks`; return epochs, losses and weights."""
    if own_disks:
        folder = os.path.join(folder, str(dist.get_rank()))
    torch.manual_seed(3)
    model = model_of(units)
    count = dist.get_world_size() if dist.is_initialized() else 1
    callbacks = [BackupAndRestore(folder, save_freq=save_freq, delete_checkpoint=False), StopHere(after)]
    try:
        history = model.fit(X, Y, batch_size=global_batch // count, epochs=4, verbose=0, shuffle=False, callbacks=callbacks)
    except InterruptedError:
        return os.path.exists(os.path.join(folder, "backup"))
    return history.epoch, history.history["loss"], [weight.tolist() for weight in model.get_weights()]


def test_no_other_process_has_to_see_the_disk(tmp_path):
    expected = run(train_on, 2, str(tmp_path / "whole"))
    (tmp_path / "parts").mkdir()
    assert run(train_on, 2, str(tmp_path / "parts"), 1, 5, True) == [True, False]
    assert run(train_on, 2, str(tmp_path / "parts"), 1, 0, True) == expected


def test_three_processes_add_gradients_as_if_nothing_had_happened(tmp_path):
    """Torch changes the order in which gradients are sent, and so added, in the first steps, which must not come again."""
    expected = run(train_on, 3, str(tmp_path / "whole"), 1, 0, False, 6, 200)
    assert run(train_on, 3, str(tmp_path / "parts"), 1, 5, False, 6, 200) == [True, True, True]
    assert run(train_on, 3, str(tmp_path / "parts"), 1, 0, False, 6, 200) == expected


class OwnStep(Sequential):
    """A training step of the user's."""

    def train_step(self, batch):
        x, y, _ = batch
        loss = ((self(x) - y) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}


def batches_of(rank):
    """More batches in the first process than in the second, whose data ends in the third epoch."""
    numbers = np.random.default_rng(rank)
    for _ in range(12 - 5 * rank):
        rows = numbers.integers(0, len(X), 4)
        yield X[rows], Y[rows]


def train_on_other_data(folder, kind, after=0):
    """Train on data that is read, with a step of the user's and dropout; the second time with other random numbers."""
    set_random_seed(os.path.exists(folder))
    model = OwnStep([Dense(4, input_shape=(3,)), BatchNormalization(), Dropout(0.2), Dense(1)])
    model.compile("adam", "mse")
    set_random_seed(os.path.exists(folder))
    data = batches_of(dist.get_rank()) if kind == "generator" else TensorDataset(torch.tensor(X), torch.tensor(Y))
    if kind == "loader":
        data = DataLoader(data, batch_size=4, shuffle=True)
    options = {"steps_per_epoch": 3} if kind == "generator" else {}
    callbacks = [BackupAndRestore(folder, save_freq=1, delete_checkpoint=False), StopHere(after)]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The data ended after 1 of the 3 steps")
            history = model.fit(data, epochs=3, batch_size=4, verbose=0, callbacks=callbacks, **options)
    except InterruptedError:
        return None
    return history.epoch, history.history["loss"], [weight.tolist() for weight in model.get_weights()]


@pytest.mark.parametrize(("kind", "after"), [("loader", 4), ("tensors", 4), ("generator", 8)])
def test_other_data_and_steps_go_on_exactly(kind, after, tmp_path):
    expected = run(train_on_other_data, 2, str(tmp_path / "whole"), kind)
    assert run(train_on_other_data, 2, str(tmp_path / "parts"), kind, after) == [None, None]
    assert run(train_on_other_data, 2, str(tmp_path / "parts"), kind) == expected


def test_another_number_of_processes_goes_on_at_the_end_of_an_epoch(tmp_path):
    expected = train_on(str(tmp_path / "whole"))
    assert run(train_on, 2, str(tmp_path / "parts"), "epoch", 4) == [True, True]
    assert run(train_on, 3, str(tmp_path / "parts"), "epoch", 3, timeout=200) == [True, True, True]
    found = train_on(str(tmp_path / "parts"), "epoch")
    assert found[0] == expected[0]
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)  # sums in another order
    for one, other in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_another_number_of_processes_in_the_middle_of_an_epoch_is_refused(tmp_path):
    assert run(train_on, 2, str(tmp_path), 1, 4) == [True, True]
    with pytest.raises(ValueError, match="made by 2 processes in the middle of epoch 2.*there are 1 now. Start 2"):
        train_on(str(tmp_path))
