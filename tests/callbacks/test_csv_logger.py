"""`CSVLogger`: rows, columns, appending, and a file that is whole whatever happened."""

import csv
import importlib
import os
import sys

import numpy as np
import pytest

from tests.callbacks.stand_ins import StandIn, drive
from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import BackupAndRestore, Callback, CSVLogger, TerminateOnNaN
from torchkeras_fn.layers import Dense

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), np.arange(20, dtype="float32")


def compiled():
    x = Input(shape=(3,))
    model = Model(x, Dense(1)(x))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.csv"


def rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


LOGS = [{"loss": 3.0, "val_loss": 4.0}, {"loss": 2.5, "val_loss": 3.5}, {"loss": 2.0, "val_loss": 3.0}]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_row_for_each_epoch(path, separator):
    history = compiled().fit(X, Y, epochs=3, verbose=0, validation_split=0.5, callbacks=[CSVLogger(path, separator)]).history
    header, *found = rows(path, separator)
    assert header == ["epoch", "loss", "mae", "val_loss", "val_mae"]
    assert [[float(cell) for cell in row] for row in found] == [
        [epoch, *(history[name][epoch] for name in header[1:])] for epoch in range(3)
    ]


def test_a_row_is_on_the_disk_when_its_epoch_is_over(path):
    class Look(Callback):
        counts = ()

        def on_epoch_end(self, epoch, logs=None):
            self.counts += (len(rows(path)),)

    look = Look()
    compiled().fit(X, Y, epochs=3, verbose=0, callbacks=[CSVLogger(path), look])
    assert look.counts == (2, 3, 4)


def test_without_validation_there_are_no_columns_for_it(path):
    compiled().fit(X, Y, verbose=0, callbacks=[CSVLogger(path)])
    assert rows(path)[0] == ["epoch", "loss", "mae"]


def test_epochs_without_validation_are_not_available(path):
    history = compiled().fit(X, Y, epochs=3, verbose=0, validation_split=0.5, validation_freq=2, callbacks=[CSVLogger(path)]).history
    with open(path, newline="") as file:
        found = [row["val_loss"] for row in csv.DictReader(file)]
    assert found == ["NA", str(history["val_loss"][0]), "NA"]


def test_a_file_begins_anew_with_the_first_epoch(path):
    path.write_text("old\n")
    logger = CSVLogger(path)
    logger.on_train_begin()
    assert path.read_text() == "old\n"
    logger.on_epoch_begin(0)
    assert path.read_text() == ""


def test_a_training_without_epochs_leaves_an_empty_file(path):
    path.write_text("old\n")
    compiled().fit(X, Y, epochs=0, verbose=0, callbacks=[CSVLogger(path)])
    assert path.read_text() == ""


def test_appending_goes_on_under_one_header(path):
    logger = CSVLogger(path, append=True)
    for _ in range(2):
        drive(logger, LOGS)
    drive(CSVLogger(path, append=True), LOGS[:1])
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2", "0", "1", "2", "0"]


def test_appending_keeps_to_the_columns_that_are_there(path):
    path.write_text("epoch,val_loss,other,loss\r\n")
    drive(CSVLogger(path, append=True), LOGS[:1])
    assert rows(path)[1] == ["0", "4.0", "NA", "3.0"]


def test_appending_finds_the_older_names(path):
    path.write_text("epoch,acc\r\n")
    drive(CSVLogger(path, append=True), [{"accuracy": 0.5}], do_validation=False)
    assert rows(path)[1] == ["0", "0.5"]


def test_appending_figures_without_a_column_is_an_error(path):
    path.write_text("epoch,loss\r\n")
    with pytest.raises(ValueError, match=r"has the columns \['epoch', 'loss'\], but none for \['val_loss'\]"):
        drive(CSVLogger(path, append=True), LOGS)
    assert path.read_bytes() == b"epoch,loss\r\n"


def test_appending_to_a_file_without_a_header_adds_rows(path):
    path.write_text("9,9,9\r\n")
    drive(CSVLogger(path, append=True), LOGS[:1])
    assert rows(path) == [["9", "9", "9"], ["0", "3.0", "4.0"]]


def test_figures_that_are_missing_later_are_not_available(path):
    drive(CSVLogger(path), [*LOGS[:1], {"loss": 1.0}])
    assert rows(path)[2] == ["1", "1.0", "NA"]


def test_values_of_any_kind(path):
    logs = {"list": [1, 2], "array": np.arange(2), "scalar": np.array(3), "text": "a,b", "val_x": None}
    drive(CSVLogger(path), [logs])
    assert rows(path)[1] == ["0", '"[0, 1]"', '"[1, 2]"', "3", "a,b", ""]


def test_nan_is_written(path):
    bad = np.where(np.arange(20) == 3, np.nan, Y).astype("float32")
    compiled().fit(X, bad, epochs=5, verbose=0, callbacks=[TerminateOnNaN(), CSVLogger(path)])
    assert rows(path)[1:] == [["0", "nan", "nan"]]


def test_names_that_are_not_ascii(path):
    drive(CSVLogger(path), [{"größe": 1.0, "val_größe": 2.0}])
    assert rows(path)[0] == ["epoch", "größe", "val_größe"]


@pytest.mark.parametrize("append", [False, True])
def test_a_file_that_cannot_be_written_is_told_before_the_first_epoch(tmp_path, append):
    with pytest.raises(OSError):
        CSVLogger(tmp_path / "missing" / "log.csv", append=append).on_train_begin()
    with pytest.raises(OSError):
        CSVLogger(tmp_path, append=append).on_train_begin()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
def test_a_full_disk_is_told_after_the_first_epoch():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        compiled().fit(X, Y, verbose=0, callbacks=[CSVLogger("/dev/full")])


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_row_that_cannot_be_written_whole_is_not_written(path):
    logger = CSVLogger(path)
    drive(logger, LOGS[:1])
    before = path.read_bytes()
    resource = importlib.import_module("resource")  # there is none on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            logger.on_epoch_end(1, LOGS[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


# ---------------------------------------------------------------------- taken up again


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("written_since", [0, 1, 2])
def test_a_training_that_is_taken_up_again_leaves_the_file_of_one_never_interrupted(path, append, written_since):
    if append:
        path.write_text("epoch,loss,val_loss\r\n7,1.0,2.0\r\n")
    begun = path.read_bytes() if append else None
    logs = [{"loss": 1 / (epoch + 3), "val_loss": 1 / (epoch + 7)} for epoch in range(6)]
    drive(CSVLogger(path, append=append), logs)
    expected = path.read_bytes()
    for cut in range(0, 5):
        path.write_bytes(begun or b"")
        first, second = CSVLogger(path, append=append), CSVLogger(path, append=append)
        begin(first)
        for epoch in range(cut):
            first.on_epoch_end(epoch, logs[epoch])
        state = first.state_dict()
        for epoch in range(cut, min(cut + written_since, 6)):  # rows of epochs that the backup does not know of
            first.on_epoch_begin(epoch)
            first.on_epoch_end(epoch, logs[epoch])
        begin(second, state)
        for epoch in range(cut, 6):
            second.on_epoch_begin(epoch)
            second.on_epoch_end(epoch, logs[epoch])
        second.on_train_end()
        assert path.read_bytes() == expected


def begin(logger, state=None):
    logger.set_model(StandIn())
    logger.on_train_begin()
    if state is not None:
        logger.load_state_dict(state)
    logger.on_epoch_begin(0)


class Killed(BaseException):
    """What stands for a kill."""


class Kill(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed


def run(path, folder, *callbacks, **options):
    told = [CSVLogger(path, append=True), BackupAndRestore(folder, save_freq=1000, **options), *callbacks]
    compiled().fit(X, Y, epochs=3, verbose=0, callbacks=told)


def test_rows_from_before_the_first_backup_are_not_there_twice(path, tmp_path):
    path.write_text("epoch,loss,mae\r\n7,1.0,2.0\r\n")
    for epoch in (1, 2):
        with pytest.raises(Killed):
            run(path, tmp_path / "backup", Kill(epoch))
    run(path, tmp_path / "backup")
    assert [row[0] for row in rows(path)] == ["epoch", "7", "0", "1", "2"]
    assert not (tmp_path / "backup").exists()


def test_a_row_that_was_half_written_is_cut_off(path, tmp_path):
    with pytest.raises(Killed):
        run(path, tmp_path / "backup", Kill(2))
    path.write_bytes(path.read_bytes()[:-5])
    run(path, tmp_path / "backup")
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2"]


def test_rows_that_others_appended_since_stay(path, tmp_path):
    with pytest.raises(Killed):
        run(path, tmp_path / "backup", Kill(1))
    with path.open("a", newline="") as file:
        file.write("9,1.0,2.0\r\n")
    run(path, tmp_path / "backup")
    assert [row[0] for row in rows(path)] == ["epoch", "0", "9", "0", "1", "2"]


@pytest.mark.parametrize("options", [{}, {"delete_checkpoint": False}])
def test_rows_of_a_training_that_came_to_its_end_stay(options, path, tmp_path):
    run(path, tmp_path / "backup", **options)
    run(path, tmp_path / "backup", **options)
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2", "0", "1", "2"]


@pytest.mark.parametrize("notes", [b"", b"[", b"[1]", b'{"PATH": 3}', b'{"PATH": [0, 2, 3]}', b'{"PATH": [-1, 99999]}'])
def test_notes_that_are_none_change_nothing(notes, path, tmp_path):
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / ".backup.begun").write_bytes(notes.replace(b"PATH", str(path).encode()))
    path.write_text("epoch,loss,mae\r\n7,1.0,2.0\r\n")
    run(path, tmp_path / "backup")
    assert [row[0] for row in rows(path)] == ["epoch", "7", "0", "1", "2"]


@pytest.mark.parametrize("left", [0, 10])
def test_rows_that_are_gone_are_a_warning_and_the_file_goes_on(path, left):
    first, second = CSVLogger(path), CSVLogger(path)
    drive(first, LOGS[:2])
    path.write_bytes(path.read_bytes()[:left])
    with pytest.warns(UserWarning, match=rf"log.csv is {left} bytes long, but was \d+ when the backup was made: rows are missing"):
        begin(second, first.state_dict())
    second.on_epoch_end(2, LOGS[2])
    assert path.read_text().endswith("2,2.0,3.0\n")
    assert (rows(path)[0] == ["epoch", "loss", "val_loss"]) == (left == 0)


def test_the_order_of_arguments_is_that_of_keras(path):
    logger = CSVLogger(path, ";", True)
    assert (logger.filename, logger.sep, logger.append) == (str(path), ";", True)
