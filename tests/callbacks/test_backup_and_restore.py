"""`BackupAndRestore`: its arguments, its file, and what it says of a disk or a backup that is no good."""

import errno
import importlib
import json
import os
import shutil
import sys

import numpy as np
import pytest
import torch

from torchkeras_fn import Sequential, layers
from torchkeras_fn.callbacks import BackupAndRestore, Callback, CSVLogger, EarlyStopping, LambdaCallback
from torchkeras_fn.saving.archive import Archive, write_archive
from torchkeras_fn.saving.training_state import training_state
from torchkeras_fn.utils import Sequence

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), np.arange(20, dtype="float32")


class Interruption(Exception):
    """What stands for a crash."""


class Interrupt(Callback):
    """Crashes at the beginning of an epoch, or after a batch."""

    def __init__(self, epoch=None, batch=None):
        self.epoch, self.batch = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Interruption

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            raise Interruption


def compiled(units=1, optimizer="adam", metrics=("mae",), name="hidden"):
    model = Sequential([layers.Dense(4, "tanh", input_shape=(3,), name=name), layers.Dense(units)])
    model.compile(optimizer, "mse", metrics=list(metrics))
    return model


def fit(folder, *callbacks, model=None, x=X, y=Y, epochs=4, batch_size=4, backup=None, **options):
    callbacks = [backup or BackupAndRestore(folder), *callbacks]
    return (model or compiled()).fit(x, y, epochs=epochs, batch_size=batch_size, verbose=0, callbacks=callbacks, **options)


def interrupted(folder, *callbacks, **options):
    with pytest.raises(Interruption):
        fit(folder, *callbacks, Interrupt(epoch=2), **options)
    return folder / "backup"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "some" / "folder"


# ---------------------------------------------------------------------- arguments


@pytest.mark.parametrize("value", ["batch", 0.15, "", 0, -1, None, True])
def test_save_freq_is_epoch_or_a_number(value, folder):
    with pytest.raises((ValueError, TypeError), match="save_freq"):
        BackupAndRestore(folder, value)
    assert not folder.exists()


@pytest.mark.parametrize("value", ["", None])
def test_a_folder_is_needed(value):
    with pytest.raises(ValueError, match="Empty `backup_dir` argument passed"):
        BackupAndRestore(value)


def test_arguments_are_in_keras_order(folder):
    backup = BackupAndRestore(str(folder), 3, True, False)
    assert (backup.backup_dir, backup.save_freq, backup.double_checkpoint, backup.delete_checkpoint) == (str(folder), 3, True, False)


def test_one_is_enough(folder):
    with pytest.raises(ValueError, match="one BackupAndRestore, but 2"):
        fit(folder, BackupAndRestore(folder))


# ---------------------------------------------------------------------- the file


def test_there_is_one_file_until_training_is_over(folder):
    seen = []
    fit(folder, LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(sorted(os.listdir(folder)))))
    assert seen == [[], ["backup"], ["backup"], ["backup"]]
    assert not folder.exists()


def test_files_of_others_stay(folder):
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    fit(folder)
    assert os.listdir(folder) == ["notes.txt"]


def test_what_a_kill_left_half_written_is_cleared_away(folder):
    path = interrupted(folder)
    for name in (".backup.1a2b.tmp", "..backup.begun.1a2b.tmp"):
        (folder / name).write_bytes(b"half")
    assert fit(folder, backup=BackupAndRestore(folder, delete_checkpoint=False)).epoch == [0, 1, 2, 3]
    assert os.listdir(folder) == [path.name]


def test_a_kept_backup_of_a_finished_training_goes_on_to_more_epochs(folder):
    def backup():
        return BackupAndRestore(folder, delete_checkpoint=False)

    first = fit(folder, backup=backup()).history["loss"]
    model = compiled()
    assert fit(folder, model=model, backup=backup()).history["loss"] == first
    assert fit(folder, model=model, backup=backup(), epochs=6).epoch == [0, 1, 2, 3, 4, 5]


def test_no_backups_are_made_with_false_but_one_is_used(folder):
    never = BackupAndRestore(folder, save_freq=False)
    assert fit(folder, backup=never).epoch == [0, 1, 2, 3]
    path = interrupted(folder)
    before = path.read_bytes()
    with pytest.raises(Interruption):
        fit(folder, Interrupt(epoch=3), backup=never)
    assert path.read_bytes() == before


def test_the_model_is_that_of_the_backup_and_not_the_new_one(folder):
    model = compiled()
    kept = []
    interrupted(folder, LambdaCallback(on_epoch_end=lambda *_: kept.append(model.get_weights())), model=model)
    fresh = compiled()
    seen = []
    with pytest.raises(Interruption):
        fit(folder, LambdaCallback(on_epoch_begin=lambda *_: seen.append(fresh.get_weights())), Interrupt(epoch=2), model=fresh)
    assert all(np.array_equal(one, other) for one, other in zip(seen[0], kept[-1], strict=True))


def test_every_so_many_batches(folder):
    writes = []

    class Counting(BackupAndRestore):
        def save(self, made_for, state):
            writes.append((state["epoch"], state["batch"]))
            super().save(made_for, state)

    fit(folder, backup=Counting(folder, save_freq=4), epochs=2)
    assert writes == [(0, 4), (1, 3)]


def test_callbacks_are_told_again_that_an_epoch_begins(folder):
    told = []
    begins = LambdaCallback(on_epoch_begin=lambda epoch, logs: told.append(epoch))
    with pytest.raises(Interruption):
        fit(folder, begins, Interrupt(batch=3), backup=BackupAndRestore(folder, 1))
    batches = LambdaCallback(on_train_batch_begin=lambda batch, logs: told.append(f"batch {batch}"))
    fit(folder, begins, batches, backup=BackupAndRestore(folder, 1), epochs=1)
    assert told == [0, 0, "batch 3", "batch 4"]


def test_initial_epoch(folder):
    with pytest.raises(Interruption):
        fit(folder, Interrupt(epoch=7), initial_epoch=5, epochs=9)
    assert fit(folder, initial_epoch=5, epochs=9).epoch == [5, 6, 7, 8]


def test_a_backup_from_before_initial_epoch_is_refused(folder):
    interrupted(folder)
    with pytest.raises(ValueError, match="is of epoch 2, counted from 0, but the training begins at initial_epoch=3"):
        fit(folder, initial_epoch=3)


@pytest.mark.parametrize(("save_freq", "epoch", "epochs"), [("epoch", 2, 1), (3, 1, 1)])
def test_a_backup_that_a_later_fit_of_the_script_made_is_refused_and_nothing_has_changed(save_freq, epoch, epochs, folder):
    interrupted(folder, backup=BackupAndRestore(folder, save_freq=save_freq))
    model, kept = compiled(), (folder / "backup").read_bytes()
    before = model.get_weights()
    with pytest.raises(ValueError, match=f"is of epoch {epoch}, counted from 0, but the training ends at epochs={epochs}"):
        fit(folder, model=model, epochs=epochs)
    assert (folder / "backup").read_bytes() == kept
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_loop_of_ones_own_is_left_alone(folder):
    backup = BackupAndRestore(folder)
    backup.on_train_begin()
    backup.on_epoch_end(0, {"loss": 1.0})
    backup.on_train_end()
    assert os.listdir(folder) == []


# ---------------------------------------------------------------------- backups of other trainings

OTHERS = {
    "another layer": (lambda: {"model": compiled(name="other")}, r"hidden\.weight was '\(4, 3\) float32', and is not there"),
    "another shape": (lambda: {"model": compiled(units=2), "y": np.ones((20, 2))}, "was '.1, 4. float32', and is '.2, 4. float32'"),
    "another optimizer": (lambda: {"model": compiled(optimizer="sgd")}, "optimizer was 'Adam', and is 'SGD'"),
    "other metrics": (lambda: {"model": compiled(metrics=["mae", "mse"])}, r"metrics was \['mae'\], and is \['mae', 'mse'\]"),
    "another batch size": (lambda: {"batch_size": 5}, "batch size was 4, and is 5"),
    "other samples": (lambda: {"x": X[:16], "y": Y[:16]}, "samples was 20, and is 16"),
    "other steps": (lambda: {"steps_per_epoch": 3}, "steps per epoch was None, and is 3"),
    "another order": (lambda: {"shuffle": False}, "shuffle was True, and is False"),
    "validation": (lambda: {"validation_data": (X, Y)}, "validation data was not there"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_backup_of_another_training_is_refused(name, folder):
    path = interrupted(folder)
    before = path.read_bytes()
    options, message = OTHERS[name]
    arguments = options()
    model = arguments.pop("model", None) or compiled()
    weights = model.get_weights()
    with pytest.raises(ValueError, match=rf"(?s)was made by another training: .*{message}"):
        fit(folder, model=model, **arguments)
    assert all(np.array_equal(one, other) for one, other in zip(weights, model.get_weights(), strict=True))
    assert path.read_bytes() == before


@pytest.mark.parametrize("other", [{"x": 2 * X}, {"y": Y[::-1].copy()}], ids=["values", "targets"])
def test_other_rows_of_the_same_number_are_told_of(other, folder):
    interrupted(folder)
    with pytest.warns(UserWarning, match="other rows of data"):
        assert fit(folder, **other).epoch == [0, 1, 2, 3]


def test_another_kind_of_data_is_refused(folder):
    interrupted(folder)
    with pytest.raises(ValueError, match="kind was 'array', and is 'tensor'"):
        dataset = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
        compiled().fit(dataset, batch_size=4, verbose=0, callbacks=[BackupAndRestore(folder)])


def test_other_callbacks_with_a_state_are_refused_and_others_are_not(folder, tmp_path):
    interrupted(folder, CSVLogger(tmp_path / "log.csv"))
    model = compiled()
    weights = model.get_weights()
    with pytest.raises(ValueError, match="state is that of the callbacks"):
        fit(folder, EarlyStopping("loss"), model=model)
    assert np.array_equal(model.get_weights()[0], weights[0])
    assert fit(folder, LambdaCallback(), CSVLogger(tmp_path / "log.csv")).epoch == [0, 1, 2, 3]


class Short(Sequence):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[index * 4 : index * 4 + 4], Y[index * 4 : index * 4 + 4]


def test_a_generator_that_ends_too_early_is_refused(folder):
    def fit_on(batches, *callbacks):
        data = iter([Short()[index % 5] for index in range(batches)])
        return compiled().fit(data, steps_per_epoch=4, epochs=3, verbose=0, callbacks=[BackupAndRestore(folder), *callbacks])

    with pytest.raises(Interruption):
        fit_on(12, Interrupt(epoch=2))
    with pytest.raises(ValueError, match="gave 6 batches, but 8 were taken"):
        fit_on(6)


# ---------------------------------------------------------------------- damaged backups


def test_every_damaged_byte_is_found(folder):
    """A flipped bit anywhere is an error that names the part, and never a training that goes on with other numbers."""
    path = interrupted(folder)
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place) % 8
        path.write_bytes(damaged)
        try:
            fit(folder, backup=BackupAndRestore(folder, delete_checkpoint=False, save_freq=False), epochs=2)
        except ValueError as error:
            assert "cannot be used" in str(error) and "Remove it to begin anew" in str(error), error


@pytest.mark.parametrize("content", [b"", b"0", b"PK", None])
def test_what_is_no_backup_is_an_error(content, folder):
    path = interrupted(folder)
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(ValueError, match="the zip container cannot be used"):
        fit(folder)


def test_a_saved_model_is_no_backup(folder):
    path = interrupted(folder)
    compiled().save(path)
    with pytest.raises(ValueError, match="Nothing was read from it"):
        fit(folder)


HAND_MADE = {
    "a misspelt weight": lambda state: state["weights"].update(hidden=state["weights"].pop("hidden.weight")),
    "a weight that is none": lambda state: state["weights"].update({"hidden.weight": None}),
    "a state too few of the optimizer": lambda state: state["optimizer"]["state"]["$dict"][1][1].pop("exp_avg_sq"),
    "a state of another shape": lambda state: state["optimizer"]["state"]["$dict"][0][1].update(
        exp_avg=state["optimizer"]["state"]["$dict"][1][1]["exp_avg"]
    ),
    "options with which no step can be taken": lambda state: state["optimizer"]["param_groups"][0].update(betas=None),
    "no callbacks": lambda state: state.pop("callbacks"),
    "an epoch that is none": lambda state: state.update(epoch="2"),
    "modules that are none": lambda state: state.update(modules=True),
    "random numbers that are none": lambda state: state["random"].update(python=None),
    "a place behind the random numbers": lambda state: state["random"]["numpy"]["state"].update(pos=10**9),
    "no place in the data": lambda state: state["positions"].clear(),
    "a place in the data that is none": lambda state: state["positions"]["training data"].update(batches="2"),
    "a place in the data without what came before": lambda state: state["positions"]["training data"].pop("begun"),
    "random numbers of the data that are none": lambda state: state["positions"]["training data"].update(start=[1]),
    "random numbers of the data that are no numbers": lambda state: state["positions"]["training data"].update(ahead={"shared": 1}),
}


@pytest.mark.parametrize("save_freq", ["epoch", 2])
@pytest.mark.parametrize("kind", HAND_MADE)
def test_a_backup_that_was_made_by_hand_is_refused_and_nothing_has_changed(kind, save_freq, folder):
    interrupted(folder, backup=BackupAndRestore(folder, save_freq=save_freq))
    path = folder / "backup"
    with Archive(path, {"state.json", "state.safetensors"}) as archive:
        config = {name: value for name, value in archive.config.items() if name != "members"}
        state, tensors = archive.read_json("state.json"), bytes(archive.read("state.safetensors"))
    HAND_MADE[kind](state)
    write_archive(path, config, {"state.json": [json.dumps(state).encode()], "state.safetensors": [tensors]})
    model = compiled()
    before, optimizer, random = model.get_weights(), str(model.optimizer.state_dict()), torch.get_rng_state()
    with pytest.raises(ValueError, match="(?s)cannot be used: .*Remove it to begin anew"):
        fit(folder, model=model)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    assert str(model.optimizer.state_dict()) == optimizer
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("part", ["made_for", "state.json"])
def test_what_is_no_table_is_refused(part, folder):
    path = interrupted(folder)
    with Archive(path, {"state.json", "state.safetensors"}) as archive:
        config = {name: value for name, value in archive.config.items() if name != "members"}
        state, tensors = bytes(archive.read("state.json")), bytes(archive.read("state.safetensors"))
    config, state = ({**config, "made_for": [1]}, state) if part == "made_for" else (config, b"[1]")
    write_archive(path, config, {"state.json": [state], "state.safetensors": [tensors]})
    with pytest.raises(ValueError, match=r"it says \[1\], where a table was expected. Remove it to begin anew"):
        fit(folder)


def test_what_a_backup_says_of_itself_is_quoted_in_short(folder):
    path = interrupted(folder)
    with Archive(path, {"state.json", "state.safetensors"}) as archive:
        config = {name: value for name, value in archive.config.items() if name != "members"}
        members = {name: [bytes(archive.read(name))] for name in ("state.json", "state.safetensors")}
    config["made_for"]["optimizer"] = "x" * 100_000
    write_archive(path, config, members)
    with pytest.raises(ValueError, match="optimizer was 'xxx") as caught:
        fit(folder)
    assert len(str(caught.value)) < 1000


def test_figures_that_are_none_are_refused_when_the_epoch_begins_and_nothing_has_changed(folder):
    def made():
        model = Sequential([layers.Dense(2, input_shape=(3,), name="hidden"), layers.Dropout(0.5, seed=3), layers.Dense(1)])
        model.compile("adam", "mse")
        return model

    with pytest.raises(Interruption):
        fit(folder, Interrupt(batch=3), model=made(), backup=BackupAndRestore(folder, save_freq=2))
    path = folder / "backup"
    with Archive(path, {"state.json", "state.safetensors"}) as archive:
        config = {name: value for name, value in archive.config.items() if name != "members"}
        state, tensors = archive.read_json("state.json"), bytes(archive.read("state.safetensors"))
    state["objective"] = {}
    write_archive(path, config, {"state.json": [json.dumps(state).encode()], "state.safetensors": [tensors]})
    model = made()
    before = model.get_weights(), str(training_state(model))
    with pytest.raises(ValueError, match="cannot be used: KeyError"):
        fit(folder, model=model)
    assert all(np.array_equal(one, other) for one, other in zip(before[0], model.get_weights(), strict=True))
    assert str(training_state(model)) == before[1]


def test_the_one_before_a_damaged_one_is_used(folder):
    def backup():
        return BackupAndRestore(folder, double_checkpoint=True)

    path = interrupted(folder, backup=backup())
    assert sorted(os.listdir(folder)) == ["backup", "backup.previous"]
    path.write_bytes(b"0")
    with pytest.warns(UserWarning, match="Training goes on from the backup before it"):
        assert fit(folder, backup=backup()).epoch == [0, 1, 2, 3]
    assert not folder.exists()


def test_a_damaged_one_never_takes_the_place_of_the_good_one_before_it(folder, monkeypatch):
    """A training that goes on from the one before may be killed in the middle of its own first backup."""
    previous = folder / "backup.previous"
    path = interrupted(folder, backup=BackupAndRestore(folder, double_checkpoint=True))
    good = previous.read_bytes()
    path.write_bytes(b"0")

    def killed(*_):
        raise Interruption

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="backup before it"), pytest.raises(Interruption):
        patch.setattr("torchkeras_fn.callbacks.backup_and_restore.write_archive", killed)
        fit(folder, backup=BackupAndRestore(folder, double_checkpoint=True))
    assert previous.read_bytes() == good


def test_the_one_before_is_kept_again_after_a_damaged_one_was_replaced(folder):
    path = interrupted(folder, backup=BackupAndRestore(folder, double_checkpoint=True))
    path.write_bytes(b"0")
    with pytest.warns(UserWarning, match="backup before it"):
        fit(folder, backup=BackupAndRestore(folder, double_checkpoint=True, delete_checkpoint=False), epochs=3)
    path.write_bytes(b"0")
    with pytest.warns(UserWarning, match="backup before it"):
        assert fit(folder, backup=BackupAndRestore(folder, double_checkpoint=True)).epoch == [0, 1, 2, 3]


# ---------------------------------------------------------------------- odd things in the folder

ODD = {
    "a pipe": os.mkfifo if hasattr(os, "mkfifo") else None,
    "a link to itself": lambda path: os.symlink(path, path),
    "a link to nothing": lambda path: os.symlink("/nowhere/at/all", path),
    "a link to a device": lambda path: os.symlink("/dev/zero", path),
    "a damaged file": lambda path: path.write_bytes(b"[1"),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes, links and devices are those of POSIX")
@pytest.mark.parametrize("name", [".backup.begun", ".backup.trial.tmp", "..backup.begun.1a2b.tmp"])
@pytest.mark.parametrize("thing", ODD)
def test_what_stands_where_only_callbacks_take_notes_is_cleared_away(thing, name, folder, tmp_path):
    folder.mkdir(parents=True)
    ODD[thing](folder / name)
    assert fit(folder, CSVLogger(tmp_path / "log.csv", append=True)).epoch == [0, 1, 2, 3]
    assert not folder.exists()


@pytest.mark.parametrize("name", [".backup.begun", ".backup.trial.tmp", "..backup.begun.1a2b.tmp"])
def test_a_folder_in_the_folder_stays(name, folder):
    (folder / name / "mine").mkdir(parents=True)
    interrupted(folder)
    assert fit(folder).epoch == [0, 1, 2, 3]
    assert os.listdir(folder) == [name]
    assert os.listdir(folder / name) == ["mine"]


def test_a_folder_where_callbacks_take_notes_is_reported_before_the_first_epoch(folder, tmp_path):
    (folder / ".backup.begun").mkdir(parents=True)
    with pytest.raises(OSError, match=r"begun' is a folder\. Give the path of a file\.:"):
        fit(folder, CSVLogger(tmp_path / "log.csv", append=True))


def test_a_folder_in_the_place_of_the_backup_is_reported(folder):
    (folder / "backup").mkdir(parents=True)
    with pytest.raises(ValueError, match="is a folder, where the file of a backup was expected. Remove it to begin anew"):
        fit(folder)


# ---------------------------------------------------------------------- disks


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_full_disk_is_reported_and_the_last_backup_stays(folder):
    path = interrupted(folder)
    before = path.read_bytes()
    resource = importlib.import_module("resource")  # there is none on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OSError, match="cannot be written: File too large. The last backup is whole.") as caught:
            fit(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(folder) == ["backup"]
    assert fit(folder).epoch == [0, 1, 2, 3]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_is_reported_and_the_last_backup_stays(call, folder, monkeypatch):
    path = interrupted(folder)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left on device. The last backup is whole") as caught:
        patch.setattr(os, call, fail)
        fit(folder)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == before
    assert os.listdir(folder) == ["backup"]


def test_a_folder_that_was_cleared_away_is_made_again(folder):
    seen = []

    def clear(epoch, logs):
        seen.append(sorted(os.listdir(folder)))
        shutil.rmtree(folder)

    fit(folder, LambdaCallback(on_epoch_end=clear))
    assert seen == [[], ["backup"], ["backup"], ["backup"]]


@pytest.mark.parametrize("step", ["open", "link"])
def test_another_process_that_ends_in_the_same_folder_takes_nothing_away(step, folder, monkeypatch):
    def cleared(*args, **options):
        monkeypatch.undo()
        shutil.rmtree(folder)
        return known(*args, **options)

    known = getattr(os, step)
    with pytest.raises(Interruption):
        fit(folder, LambdaCallback(on_epoch_end=lambda epoch, logs: monkeypatch.setattr(os, step, cleared)), Interrupt(epoch=1))
    assert fit(folder).epoch == [0, 1, 2, 3]


def test_a_place_that_cannot_be_written_to_is_reported_before_the_first_epoch(tmp_path):
    (tmp_path / "file").write_text("no folder")
    seen = []
    with pytest.raises(NotADirectoryError, match="the backup of the training cannot be written"):
        fit(tmp_path / "file" / "backups", LambdaCallback(on_epoch_begin=lambda *_: seen.append(1)))
    assert seen == []


def test_a_read_only_folder_is_reported_before_the_first_epoch(folder, monkeypatch):
    """Root may write everywhere, so the answer of a read-only disk is given here by hand."""
    path = interrupted(folder)
    before, real = path.read_bytes(), open

    def read_only(file, mode="r", *args, **options):
        if str(file).startswith(str(folder)) and mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(file, mode, *args, **options)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Read-only file system. The last backup is whole"):
        patch.setattr("builtins.open", read_only)
        fit(folder)
    assert path.read_bytes() == before
    assert fit(folder).epoch == [0, 1, 2, 3]


def test_a_folder_that_is_only_to_be_read_needs_no_writing(folder, monkeypatch):
    interrupted(folder)

    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        for call in ("unlink", "makedirs", "mkdir"):
            patch.setattr(os, call, read_only)
        assert fit(folder, backup=BackupAndRestore(folder, save_freq=False, delete_checkpoint=False)).epoch == [0, 1, 2, 3]


@pytest.mark.parametrize("thing", [object(), 2**80])
def test_a_state_that_cannot_be_saved_is_an_error_and_the_last_backup_stays(thing, folder):
    path = interrupted(folder)
    before = path.read_bytes()

    class Odd(Callback):
        state = {}

        def state_dict(self):
            return self.state

        def on_epoch_end(self, epoch, logs=None):
            self.state = {"thing": thing}

    with pytest.raises(ValueError, match="cannot be saved|no number of 64 bits"):
        fit(folder, Odd())
    assert path.read_bytes() == before
