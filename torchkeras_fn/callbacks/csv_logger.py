"""`CSVLogger`: writes the figures of every epoch to a file."""

import contextlib
import csv
import io
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from torchkeras_fn.callbacks.backup_and_restore import BackupAndRestore
from torchkeras_fn.callbacks.callback import Callback
from torchkeras_fn.engine.basics.logs import Logs

_NOT_THERE = "NA"


class CSVLogger(Callback):
    """Writes a row for each epoch: `epoch`, counted from 0, and the figures in the order of their names.

    A row is on the disk when its epoch is over. Columns are those of the first epoch; those of a validation are there
    from the start, filled with `NA` at epochs without one. With `append=True` the rows follow those that are in the file,
    in its columns; else the file begins anew with the first epoch. Beside a `BackupAndRestore` the file is that of a training
    that was never interrupted: rows that were written after the backup, or before there was one, are cut off.

    Raises `OSError` when training begins for a file that cannot be written, and `ValueError` at the first epoch where
    there are figures that the file which is appended to has no column for.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     logger = CSVLogger(f"{folder}/log.csv", separator=";")
    ...     logger.on_train_begin()
    ...     logger.on_epoch_begin(0)
    ...     logger.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.75})
    ...     with open(logger.filename) as file:
    ...         print(file.read())
    epoch;loss;val_loss
    0;0.5;0.75
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False):
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self._position: int | None = None
        self._first = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Make sure that the file can be written. What is in it stays until the first epoch begins."""
        self.keys = self._position = None
        if not self._speaks:
            return
        with open(self.filename, "a"):
            pass

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin the file, unless it was begun."""
        if self._position is None and self._speaks:
            self._begin()

    def _begin(self) -> None:
        if self.append:
            self._cut_off_rows_of_a_killed_training()
        else:
            with open(self.filename, "w"):
                pass
        self._position = self._first = os.path.getsize(self.filename)
        self._note(self._position)

    def _cut_off_rows_of_a_killed_training(self) -> None:
        """Where it was killed before its first backup. If others have appended rows since, all of them stay."""
        for backup in self._backups():
            noted = backup.noted(os.path.abspath(self.filename))
            first, end = noted if _are_places(noted) else (0, -1)
            if first <= os.path.getsize(self.filename) <= end:
                os.truncate(self.filename, first)

    def _note(self, end: int) -> None:
        """Say which bytes of the file are this training's."""
        for backup in self._backups() if self.append else ():
            backup.note(os.path.abspath(self.filename), [self._first, end])

    def _backups(self) -> list[BackupAndRestore]:
        return [callback for callback in self.companions if isinstance(callback, BackupAndRestore)]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write a row."""
        if not self._speaks:
            return
        logs = logs if isinstance(logs, Logs) else Logs(logs or {})
        if self._position is None:
            self._begin()
        if self.keys is None:
            self._choose_columns(logs)
        row = [epoch, *(_cell(logs.get(key, _NOT_THERE)) for key in self.keys or ())]
        self._write([row] if self._position else [["epoch", *(self.keys or ())], row])

    def on_train_end(self, logs: Any = None) -> None:
        """Begin the file of a training that had no epoch."""
        self.on_epoch_begin(0)

    def _choose_columns(self, logs: Mapping[str, Any]) -> None:
        self.keys = sorted(logs)
        if self.params.get("do_validation", True) and not any(key.startswith("val_") for key in self.keys):
            self.keys += [f"val_{key}" for key in self.keys]
        header: list[str] = []
        if self._position:
            with open(self.filename, newline="") as file:
                header = next(csv.reader(file, delimiter=self.sep), [])
        if header[:1] == ["epoch"]:
            unknown = [key for key in logs if key not in Logs(dict.fromkeys(header))]
            if unknown:
                raise ValueError(f"{self.filename} has the columns {header}, but none for {unknown}. Append to another file.")
            self.keys = header[1:]

    def _write(self, rows: list[list[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.sep).writerows(rows)
        data = text.getvalue().encode()
        self._note((self._position or 0) + len(data))
        size = os.path.getsize(self.filename) if os.path.exists(self.filename) else 0
        try:
            with open(self.filename, "ab") as file:
                file.write(data)
                self._position = file.tell()
        except OSError as error:  # such as a full disk: a part of a row is worse than none
            with contextlib.suppress(OSError):
                os.truncate(self.filename, size)
            error.filename = error.filename or self.filename  # which the system says of opening alone
            raise

    def state_dict(self) -> dict[str, Any]:
        """Return the columns, and where in the file the next row begins, in bytes."""
        return {"keys": self.keys, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut off rows that were written after `state_dict`, and go on. Warns where rows from before it are gone."""
        self.keys, self._position = state["keys"], state["position"]
        if self._position is None or not self._speaks:
            return
        size = os.path.getsize(self.filename) if os.path.exists(self.filename) else 0
        if size > self._position:
            os.truncate(self.filename, self._position)
        elif size < self._position:
            warnings.warn(
                f"{self.filename} is {size} bytes long, but was {self._position} when the backup was made: rows are missing.",
                UserWarning,
                stacklevel=2,
            )
            self._position = size


def _are_places(noted: Any) -> bool:
    return isinstance(noted, list) and len(noted) == 2 and all(type(place) is int and place >= 0 for place in noted)


def _cell(value: Any) -> Any:
    """A value as it stands in the file: several in brackets."""
    if isinstance(value, str) or not isinstance(value, Iterable) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value
    return f'"[{", ".join(map(str, value))}]"'
