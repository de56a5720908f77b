"""What is saved of a model that lies in parts on several processes, and who can read it: any number of processes."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.distributed.job import run
from torchkeras_fn import Input, Model, optimizers
from torchkeras_fn.callbacks import BackupAndRestore, Callback, ModelCheckpoint
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.engine.processes.failures import ProcessError
from torchkeras_fn.layers import GRU, Dense
from torchkeras_fn.models import load_model
from torchkeras_fn.saving.checkpoint import CONFIG
from torchkeras_fn.shards import is_sharded, parts

ROWS, GLOBAL = 23, 12
_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(ROWS, 4, 5)).astype("float32")
Y = _numbers.normal(size=(ROWS, 1)).astype("float32")
FILES = ("m.model", "m.keras", "w", "w.weights.h5")


def compiled(distributed):
    set_random_seed(1)
    x = Input((4, 5))
    model = Model(x, Dense(1, name="end")(GRU(3, kernel_regularizer="l2")(x)))
    model.compile(optimizers.Adam(0.01, use_ema=True), "mse", distributed=distributed)
    return model


def fit(model, distributed, **options):
    size = GLOBAL // (dist.get_world_size() if distributed else 1)
    return model.fit(X, Y, batch_size=size, **{"epochs": 2, "shuffle": False, "verbose": 0, **options})


def write(folder, distributed):
    """Train, and save in every way there is; return the weights then, and after two epochs more."""
    model = compiled(distributed)
    checkpoints = ModelCheckpoint(f"{folder}/{{epoch}}.model", save_best_only=True, monitor="loss")
    fit(model, distributed, callbacks=[checkpoints])
    model.save_checkpoint(f"{folder}/checkpoint")
    model.save_checkpoint(f"{folder}/checkpoint")
    for name in FILES:
        (model.save if name.startswith("m") else model.save_weights)(f"{folder}/{name}")
    assert all(map(is_sharded, model.parameters())) == bool(distributed)
    then = model.get_weights()
    fit(model, distributed)
    return then, model.get_weights()


def read(folder, distributed):
    """Read the checkpoint and train; return the weights after it, and those that each file of weights gives."""
    model = compiled(distributed)
    model.load_checkpoint(f"{folder}/checkpoint")
    assert model.optimizer.iterations == 4
    fit(model, distributed)
    found = [model.get_weights()]
    for name in ("w", "w.weights.h5", "m.model"):
        model.set_weights([np.zeros_like(weight) for weight in found[0]])
        model.load_weights(f"{folder}/{name}")
        found.append(model.get_weights())
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What one process wrote, and two, and three; and the weights of one process, then and after two epochs more."""
    made = {count: str(tmp_path_factory.mktemp(f"by_{count}")) for count in (1, 2, 3)}
    expected = write(made[1], False)
    for count in (2, 3):
        for found in run(write, count, made[count], "fsdp"):
            assert_close(found, expected)
    return made, *expected


def assert_close(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("writers", [1, 2, 3])
def test_one_process_reads_what_several_wrote(folders, writers):
    made, then, after = folders
    assert_close(read(made[writers], False), [after, then, then, then])
    for name in ("m.model", "m.keras"):
        model = load_model(f"{made[writers]}/{name}")
        assert_close([model.get_weights()], [then])
        fit(model, False)
        assert_close([model.get_weights()], [after])
    assert sorted(os.listdir(made[writers])) == sorted(["1.model", "2.model", "checkpoint", *FILES])
    assert len(os.listdir(f"{made[writers]}/checkpoint")) == 2  # of the two that were written the first is gone


@pytest.mark.parametrize(("writers", "readers", "kind"), [(1, 2, "fsdp"), (3, 2, "fsdp"), (2, 3, "fsdp"), (3, 2, "ddp")])
def test_several_read_what_another_number_wrote(folders, writers, readers, kind):
    made, then, after = folders
    for found in run(read, readers, made[writers], kind):
        assert_close(found, [after, then, then, then])


def test_torch_reads_the_parts(folders):
    made, then, _ = folders
    (parts,) = (name for name in os.listdir(f"{made[3]}/checkpoint") if name != CONFIG)
    place = {"weights/end.bias": torch.zeros(1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not in a job
        torch.distributed.checkpoint.load(place, checkpoint_id=f"{made[3]}/checkpoint/{parts}")
    np.testing.assert_allclose(place["weights/end.bias"].numpy(), then[-1], atol=1e-6)


def held(model):
    """What this process holds of the weights and of the optimizer's state."""
    state = model.optimizer.torch_optimizer.state.values()
    return [part.clone() for part in parts([*model.parameters(), *(value for values in state for value in values.values())])]


def read_what_is_damaged(folder):
    """Read a checkpoint of which the part that the second process holds is damaged; return what it says, if nothing changed."""
    model = compiled("fsdp")
    fit(model, "fsdp")
    model.save_checkpoint(folder)
    fit(model, "fsdp")
    (path,) = Path(folder).glob("parts-*/__1_0.distcp")
    if dist.get_rank():
        path.write_bytes(bytes(path.stat().st_size))
    dist.barrier()
    before, message = held(model), None
    try:
        model.load_checkpoint(folder)
    except (ValueError, ProcessError) as error:
        message = str(error)
    assert all(torch.equal(one, other) for one, other in zip(before, held(model), strict=True))
    fit(model, "fsdp")
    return message


def test_a_part_that_one_process_cannot_read_changes_nothing_in_any(tmp_path):
    first, second = run(read_what_is_damaged, 2, str(tmp_path))
    assert "the bytes of a tensor are damaged" in second and "weights_only" not in second
    assert first.startswith("Process 1 of 2 failed: ValueError: ") and "the bytes of a tensor are damaged" in first


def write_where_no_folder_can_be(path):
    model = compiled("fsdp")
    try:
        model.save_checkpoint(path)
    except (OSError, ProcessError) as error:
        fit(model, "fsdp")
        return type(error), str(error)


def test_a_folder_that_cannot_be_made_is_told_to_all(tmp_path):
    (tmp_path / "file").touch()
    first, second = run(write_where_no_folder_can_be, 2, str(tmp_path / "file"))
    assert first[0] is NotADirectoryError
    assert second[0] is ProcessError and second[1].startswith("Process 0 of 2 failed: NotADirectoryError")


# ------------------------------------------------------------------ backups


class PullThePlug(Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def train_with_backup(folder, distributed, dies):
    model = compiled(distributed)
    told = [BackupAndRestore(folder, delete_checkpoint=False), *([PullThePlug()] if dies else [])]
    try:
        fit(model, distributed, epochs=4, callbacks=told)
    except KeyboardInterrupt:
        return None
    return model.get_weights()


@pytest.mark.parametrize(("first", "then"), [(2, 2), (3, 2), (2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, first, then):
    undisturbed = train_with_backup(str(tmp_path / "other"), False, False)
    folder = str(tmp_path / "backup")
    for count, dies in ((first, True), (then, False)):
        found = [train_with_backup(folder, False, dies)] if count == 1 else run(train_with_backup, count, folder, "fsdp", dies)
    assert_close(found, [undisturbed] * then)
