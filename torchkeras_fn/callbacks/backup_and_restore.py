"""`BackupAndRestore`: a training that can be interrupted at any moment, and goes on as if it never was."""

import contextlib
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.callbacks.callback import Callback
from torchkeras_fn.saving.archive import Archive, write_archive
from torchkeras_fn.saving.atomic import replacing
from torchkeras_fn.saving.formats import open_to_read
from torchkeras_fn.saving.tensors import pack, unpack
from torchkeras_fn.saving.trees import MOST_TEXT, decode, encode, parse_json, write_json

FORMAT = "torchkeras_fn backup"
_VERSION = 1
_STATE, _TENSORS = "state.json", "state.safetensors"
_NAME = "backup"


class BackupAndRestore(Callback):
    """Keeps a backup of the whole training in `backup_dir`, from which `fit` goes on when it is called again.

    Run the program again after a crash, a kill or Ctrl-C: `fit` begins at the epoch and the batch of the backup, and on a
    CPU ends with the weights and the history, bit for bit, of a training that was never interrupted. A backup holds the
    weights, the optimizer, the learning rate, the state of every callback (`Callback.state_dict`) and metric, the random
    generators of Python, numpy, torch, the device, the layers and the data, and the place in the data and its order. It is
    made after every epoch, when all callbacks have been told of its end, or every `save_freq` batches; with `False` none
    is made, and one that is there is still used. `delete_checkpoint` removes it when `fit` has come to its end.
    `double_checkpoint` keeps the one before it as well, for a disk that damages files.

    Each `fit` of a script has a folder of its own: of several trainings of like models on the same data, a backup may be any one's.

    The file is there whole or not at all, whatever happens while it is written. A training taken up in the middle of an
    epoch tells the callbacks again that the epoch begins, and then gives them the state that they had.

    The data must come again as it did: arrays in any order, a `Sequence`, a data set or a `DataLoader` with or without
    worker processes, which are started anew for each epoch. A generator is run again from its start, so it must not share
    a random generator with the training, and should have one of its own; a `Sequence` is read in one thread or in
    processes, as several threads draw random numbers in no certain order. One whose pass spans several epochs, and that draws
    from the same global generator as the validation or a callback, must be read without a thread as well: `workers=0`. With
    more, the thread reads ahead, and draws before or after the others do as it happens. What an object of the user's keeps in itself
    goes on if it has `state_dict` and `load_state_dict`: a `Sequence`, or an attribute of the model, or what is in a list or dict there.

    Where several processes train the model together, the first writes one file for all of them and reads it for all, so
    that no other needs to see its disk; in the file are the random generators and the place in the data of each. As many
    processes go on bit for bit. Another number of them can take up a backup from the end of an epoch, and goes on with the
    same weights and optimizer; one from the middle of an epoch is refused. Callbacks begin with the state of the first's.

    Raises `ValueError` for bad arguments, and when training begins for a backup that is damaged, saying which part is, or
    that was made by a training of another model, optimizer, or other data, or by a later `fit` of the script, saying what
    differs; warns where some rows of arrays are others. Raises `OSError`, when training begins or when a backup is due, for a
    folder or disk that cannot be written to; the last backup is whole then.

    >>> import tempfile
    >>> import numpy as np
    >>> from torchkeras_fn import Sequential, callbacks, layers
    >>> folder = tempfile.mkdtemp()
    >>> class PullThePlug(callbacks.Callback):
    ...     def on_epoch_begin(self, epoch, logs=None):
    ...         if epoch == 2: raise KeyboardInterrupt
    >>> def train(*others):
    ...     model = Sequential([layers.Dense(1, input_shape=(2,))])
    ...     model.compile("sgd", "mse")
    ...     told = [callbacks.BackupAndRestore(folder), *others]
    ...     return model.fit(np.ones((4, 2)), np.ones(4), epochs=4, verbose=0, callbacks=told).epoch
    >>> try:
    ...     train(PullThePlug())
    ... except KeyboardInterrupt:
    ...     os.listdir(folder)
    ['backup']
    >>> train()
    [0, 1, 2, 3]
    """

    def __init__(self, backup_dir: Any, save_freq: Any = "epoch", double_checkpoint: bool = False, delete_checkpoint: bool = True):
        if not backup_dir:
            raise ValueError("Empty `backup_dir` argument passed: it is the folder for the backup.")
        if save_freq is not False and save_freq != "epoch":
            if isinstance(save_freq, (str, float)):
                raise ValueError(f"Invalid value for argument `save_freq`: it is 'epoch' or a number of batches, got {save_freq!r}.")
            save_freq = positive_integer(save_freq, "save_freq")
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._batches_since = 0
        self._is_damaged = False
        self._notes: dict[str, Any] | None = None

    @property
    def path(self) -> str:
        """The file with the backup."""
        return os.path.join(self.backup_dir, _NAME)

    @property
    def _previous(self) -> str:
        return f"{self.path}.previous"

    @property
    def _notes_path(self) -> str:
        return os.path.join(self.backup_dir, f".{_NAME}.begun")

    @property
    def counts_batches(self) -> bool:
        """Whether a backup is made every so many batches, and not after every epoch."""
        return isinstance(self.save_freq, int) and self.save_freq is not False

    def on_train_begin(self, logs: Any = None) -> None:
        """Make the folder, see whether it can be written to, and clear away what a kill left half written."""
        self._batches_since, self._notes = 0, None
        if not self._speaks or (self.save_freq is False and not self.delete_checkpoint):  # which leaves all as it is
            return
        self._write(self._clear_away)

    def _clear_away(self) -> None:
        for name in os.listdir(self.backup_dir):
            if name.lstrip(".").startswith(_NAME) and name.startswith(".") and name.endswith(".tmp"):
                _remove(os.path.join(self.backup_dir, name))
        trial = os.path.join(self.backup_dir, f".{_NAME}.{secrets.token_hex(4)}.tmp")
        with open(trial, "xb"):
            pass
        _remove(trial)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches since the last backup."""
        return {"batches": self._batches_since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._batches_since = state["batches"]

    # ------------------------------------------------------------------ until there is a backup

    def begin(self) -> None:
        """Take up what callbacks noted in a training that was killed before its first backup; `fit` begins this one anew."""
        if not self._speaks or self.save_freq is False:
            return
        self._notes = {}
        try:
            with open_to_read(self._notes_path) as file:
                found = parse_json(file.read(MOST_TEXT + 1))
                self._notes = found if isinstance(found, dict) else {}
        except (OSError, ValueError):  # whatever it is, no callback has noted anything in it
            with self._reporting():
                _remove(self._notes_path)

    def noted(self, name: str) -> Any:
        """Return what was noted under a name; `None` where nothing was, and where the training goes on from a backup."""
        return (self._notes or {}).get(name)

    def note(self, name: str, value: Any) -> None:
        """Keep a plain value for the training that begins anew if this one is killed before its first backup."""
        if self._notes is None:
            return
        self._notes[name] = value
        text = write_json(self._notes, "What a callback notes")

        def write() -> None:
            with replacing(self._notes_path) as file:
                file.write(text)

        self._write(write)

    def _forget_notes(self) -> None:
        self._notes = None
        if self._speaks:
            _remove(self._notes_path)

    # ------------------------------------------------------------------ what fit asks

    def is_due_after(self, batches: int) -> bool:
        """Count batches, and return whether it is time for a backup."""
        self._batches_since += batches
        if self._batches_since < self.save_freq:
            return False
        self._batches_since = 0
        return True

    def is_due_after_epoch(self) -> bool:
        """Return whether it is time for a backup."""
        return bool(self.save_freq == "epoch")

    def save(self, made_for: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write a backup of a training for which `made_for` says what it trains. Raises `OSError` where it cannot be written."""
        tensors: dict[str, torch.Tensor] = {}
        text = write_json(encode(state, tensors), "The state of the training")
        parse_json(text)  # what could not be read is no backup
        config = {"format": FORMAT, "version": _VERSION, "made_for": encode(made_for)}

        def write() -> None:
            if self.double_checkpoint and os.path.exists(self.path) and not self._is_damaged:
                with open(self.path, "rb") as last, replacing(self._previous) as copy:
                    shutil.copyfileobj(last, copy)
            write_archive(self.path, config, {_STATE: [text], _TENSORS: pack(tensors)})
            self._is_damaged = False
            self._forget_notes()

        self._write(write)

    def _write(self, write: Callable[[], None]) -> None:
        """Write into the folder: twice, where another process that uses it ends meanwhile, and clears it away."""
        with self._reporting():
            os.makedirs(self.backup_dir, exist_ok=True)
            try:
                write()
            except FileNotFoundError:
                os.makedirs(self.backup_dir, exist_ok=True)
                write()

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            whole = " The last backup is whole." if os.path.exists(self.path) and not self._is_damaged else ""
            reason = f"the backup of the training cannot be written: {str(error.strerror or error).rstrip('.')}.{whole}"
            raise OSError(error.errno, reason, self.path) from error

    def load(self, made_for: Mapping[str, Any]) -> Any:
        """Return the state in the backup; `None` where there is none. Raises `ValueError` for one that cannot be used."""
        paths = [path for path in (self.path, self._previous) if os.path.exists(path)]
        if not self.double_checkpoint:
            paths = paths[:1]
        self._is_damaged = False
        for path in paths:
            try:
                state = self._read(path, made_for)
                self._forget_notes()
                return state
            except _DamagedError as error:
                self._is_damaged |= path == self.path  # which must not take the place of a good one
                if path == paths[-1]:
                    raise ValueError(f"{error} Remove it to begin anew.") from error.__cause__
                warnings.warn(f"{error} Training goes on from the backup before it.", UserWarning, stacklevel=2)
        return None

    def _read(self, path: str, made_for: Mapping[str, Any]) -> Any:
        if os.path.isdir(path):
            raise _DamagedError(f"{path} is a folder, where the file of a backup was expected.")
        try:
            with Archive(path, {_STATE, _TENSORS}, FORMAT) as archive:
                with archive.part("config.json"):
                    if archive.config.get("version") != _VERSION:
                        raise ValueError(f"its format is of version {archive.config.get('version')!r:.80}, not {_VERSION}.")
                    found = decode(archive.config["made_for"])
                    _check_table(found)
                with archive.part(_TENSORS):
                    tensors = unpack(archive.read(_TENSORS))
                with archive.part(_STATE):
                    state = decode(archive.read_json(_STATE), tensors)
                    _check_table(state)
        except ValueError as error:
            raise _DamagedError(str(error)) from error
        differences = list(_differences(*_comparable(found, made_for)))
        if differences:
            raise ValueError(
                f"The backup {path} was made by another training: {'; '.join(differences[:4])}. "
                "Train as it did, or remove it to begin anew."
            )
        return state

    def finish(self) -> None:
        """Remove the backup, and its folder if nothing else is in it, unless it is to be kept."""
        self._forget_notes()
        if self.delete_checkpoint and self._speaks:
            for path in (self.path, self._previous):
                _remove(path)
            with contextlib.suppress(OSError):
                os.rmdir(self.backup_dir)


class _DamagedError(ValueError):
    """A backup of which a part is bad."""


def _remove(path: str) -> None:
    """Remove a file, or whatever else stands in its place; but not a folder, which is somebody else's."""
    if os.path.islink(path) or (os.path.exists(path) and not os.path.isdir(path)):
        with contextlib.suppress(FileNotFoundError):  # another process may do the same
            os.unlink(path)


def _check_table(value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"it says {value!r:.80}, where a table was expected.")


def _comparable(saved: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What must be the same: all, but for the shares that each process has of the data where there are more or fewer of them now."""
    if saved.get("processes", 1) == here.get("processes", 1):
        return saved, here
    return _without_shares(saved), _without_shares(here)


def _without_shares(made_for: Mapping[str, Any]) -> dict[str, Any]:
    own = ("processes", "batches", "batch size", "steps per epoch")
    return {name: _without_shares(value) if isinstance(value, Mapping) else value for name, value in made_for.items() if name not in own}


def _differences(saved: Mapping[str, Any], here: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What is not the same, in words."""
    for name in dict.fromkeys([*saved, *here]):
        one, other = (values.get(name) for values in (saved, here))
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{path}{name}: ")
        elif one != other:
            was, now = (f"{values[name]!r:.200}" if name in values else "not there" for values in (saved, here))
            yield f"{path}{name!s:.200} was {was}, and is {now}"
