"""Checkpoints: the weights and the state of the training in a folder, for a model that is there already.

torch.distributed.checkpoint writes them: each process the parts that it holds, and any number of processes, one included,
reads what it needs. Beside torch's own description, a pickle, lies one in JSON. The pickle is for other programs; here it
is never read, and of the tensors' files nothing that could run code.
"""

import contextlib
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from torchkeras_fn.saving.archive import part
from torchkeras_fn.saving.atomic import locked, replacing
from torchkeras_fn.saving.formats import open_to_read
from torchkeras_fn.saving.model_file import check_entries, check_version, header
from torchkeras_fn.saving.own_state import own_states, own_states_loaded
from torchkeras_fn.saving.pieces import Saved, checked_pieces, describe_pieces, read_pieces, write_pieces
from torchkeras_fn.saving.tensors import Entry
from torchkeras_fn.saving.training_state import load_training_state, training_state
from torchkeras_fn.saving.trees import MOST_TEXT, decode, encode, parse_json, write_json
from torchkeras_fn.shards import is_sharded

FORMAT = "torchkeras_fn checkpoint"
CONFIG = "checkpoint.json"
_NAME = "parts-[0-9a-f]{8}"
_WEIGHTS, _TRAINING, _OWN = "weights", "training", "own"
_HAS_A_PLACE = ("optimizer", "_around_steps")
"""Attributes of the model whose state is in `training_state`."""
_TRIES = 10
"""How often a checkpoint is begun to be read that another process replaces meanwhile."""


# ---------------------------------------------------------------------- writing


def save_checkpoint(model: Any, folder: Any) -> None:
    """Write the weights of a model, and, if it is compiled, all that training needs to go on, into a folder, which is made.

    That is the state of the optimizer, and of the optimizers, schedules, metrics and other things with a `state_dict` that the
    model and the modules in it have in their attributes. One that is nothing a file can hold is left out, with a warning.
    A checkpoint that is there is replaced when the new one is whole; whatever happens, the folder holds one of them. Of
    several processes that train a model together all call this, and see the same folder. Raises `ValueError` for a model
    without weights, and `OSError` for a folder that cannot be written to.
    """
    folder = os.path.abspath(os.fsdecode(folder))
    team = getattr(model, "_team", None)
    with model._together():
        tensors = {f"{_WEIGHTS}/{name}": value for name, value in model.state_dict().items()}
        if not tensors and not getattr(model, "built", True):
            raise ValueError("The model has no weights yet. Build it, or call it on data, before it is saved.")
        training = encode(_training_state(model), tensors, _TRAINING) if model.objective is not None and model._bound else None
        name = f"parts-{secrets.token_hex(4)}"
        name = name if team is None else team.from_first(name)
        is_first = team is None or team.is_first
        with ExitStack() as held:
            try:
                if is_first:
                    _begin(folder, name, held)
                model._meet()  # in what torch does now, one that fails is waited for
                written = write_pieces(os.path.join(folder, name), tensors, team, model._sharding is not None)
                if is_first:
                    config = {**header(FORMAT), "parts": name, "tensors": describe_pieces(*written), "training": training}
                    text = write_json(config, "The checkpoint")
                    with locked(folder):
                        with replacing(os.path.join(folder, CONFIG)) as file:
                            file.write(text)
                        _remove_others(folder, name)
            except BaseException:
                if is_first and not _is_current(folder, name):
                    shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
                raise


def _training_state(model: Any) -> dict[str, Any]:
    """The state of the training, with that of the things in the model's attributes of which a file can hold it."""
    own = own_states(model, _HAS_A_PLACE)
    for path, states in own.items():
        for name, state in list(states.items()):
            try:
                encode(state, {})
                strange = [part for part in tree_leaves(state) if callable(part) or hasattr(part, "get_config")]
                reason = f"there is {strange[0]!r:.80} in it" if strange else None
            except ValueError as error:
                reason = str(error)
            if reason is not None:
                what = f"{path}.{name}".removeprefix(".")
                warnings.warn(f"The checkpoint is without the state of the model's {what!r}: {reason}", UserWarning, stacklevel=4)
                del states[name]
    return {**training_state(model), _OWN: own}


def _begin(folder: str, name: str, held: ExitStack) -> None:
    """Make the folder of the parts, and hold its lock, by which others know that somebody is writing them."""
    with contextlib.suppress(FileExistsError):  # of a file in its place, the next call says so
        os.makedirs(folder)
    with locked(folder):
        os.mkdir(os.path.join(folder, name))
        held.enter_context(locked(os.path.join(folder, name)))


def _is_current(folder: str, name: str) -> bool:
    """Whether the checkpoint in a folder is the one with these parts: it may have been put there before something failed."""
    try:
        return f'"{name}"'.encode() in _description(folder)
    except OSError:
        return False


def _remove_others(folder: str, name: str) -> None:
    """Remove the parts of earlier checkpoints, and of those that a kill left half written; not what another process writes now."""
    for other in os.listdir(folder):
        if re.fullmatch(_NAME, other) and other != name:
            path = os.path.join(folder, other)
            with contextlib.suppress(OSError), locked(path, waits=False):
                shutil.rmtree(path, ignore_errors=True)


# ---------------------------------------------------------------------- reading


def load_checkpoint(model: Any, folder: Any) -> None:
    """Set the weights of a model, and, if it is compiled, the state of its training, from what `save_checkpoint` wrote.

    The number of processes, and whether each holds a part of the model, may differ from those that wrote it. Nothing in the
    folder is run. Raises `FileNotFoundError` where there is no checkpoint, and `ValueError`, saying what is bad, for one
    that is damaged or of another model; then nothing has changed.
    """
    folder = os.path.abspath(os.fsdecode(folder))
    for tries_left in reversed(range(_TRIES if getattr(model, "_team", None) is None else 1)):
        before = _description(folder) if tries_left else None
        try:
            _load(model, folder)
            return
        except ValueError:  # a writer removes what it has replaced, and then there is a newer one
            if not tries_left or _description(folder) == before:
                raise


def _description(folder: str) -> bytes:
    with open_to_read(os.path.join(folder, CONFIG)) as file:
        return file.read(MOST_TEXT + 1)


def _load(model: Any, folder: str) -> None:
    with model._together():
        path, text = os.path.join(folder, CONFIG), _description(folder)
        with part(path, "the description"):
            config = parse_json(text)
            check_version(config, FORMAT)
            name = config["parts"]
            if not isinstance(name, str) or not re.fullmatch(_NAME, name):
                raise ValueError(f"its parts are said to be in {name!r:.80}.")
            saved = {key: checked_pieces(key, kept, os.path.join(folder, name)) for key, kept in config["tensors"].items()}
        model._meet()
        if model._is_built():
            model._bind_if_needed()
        own = model.state_dict()
        prefix = f"{_WEIGHTS}/"
        with part(path, "the checkpoint"):
            check_entries(own, {key.removeprefix(prefix): _entry(kept) for key, kept in saved.items() if key.startswith(prefix)})
            wanted = {f"{prefix}{key}": torch.empty_like(tensor) for key, tensor in own.items()}
            has_training = config["training"] is not None and model.objective is not None and model._bound
            if has_training:
                wanted |= _places_for_training(model, saved)
            _check_types(wanted, saved)
            read_pieces(os.path.join(folder, name), wanted, saved)
            training = decode(config["training"], wanted) if has_training else None
        model._meet()  # each has read what it holds: where another could not, nothing changes in any
        if training is not None:
            with part(path, "the checkpoint"), own_states_loaded(model, training.get(_OWN, {}), _HAS_A_PLACE):
                load_training_state(model, training)
        own.update({key: wanted[f"{prefix}{key}"] for key in own})
        model.load_state_dict(own)


def _entry(kept: Saved) -> Entry:
    return Entry(kept.dtype, kept.shape, 0, 0)


def _check_types(wanted: Mapping[str, torch.Tensor], saved: Mapping[str, Saved]) -> None:
    for name, tensor in wanted.items():
        if saved[name].dtype != tensor.dtype:
            raise ValueError(f"{name!r} is of {saved[name].dtype}, but the model's is of {tensor.dtype}. Cast the model first.")


def _places_for_training(model: Any, saved: Mapping[str, Saved]) -> dict[str, torch.Tensor]:
    """A tensor to read each of the training's into: in parts where the weight that it belongs to is."""
    parameters = [parameter for group in getattr(model.optimizer, "param_groups", []) for parameter in group["params"]]
    found = {}
    for name, kept in saved.items():
        section, *path = name.split("/")
        if section == _TRAINING:
            owner = None if path[0] == _OWN else _owner(path, parameters)
            if owner is not None and is_sharded(owner) and tuple(owner.shape) == kept.shape:
                found[name] = torch.empty_like(owner, dtype=kept.dtype, requires_grad=False)
            else:
                found[name] = torch.empty(kept.shape, dtype=kept.dtype)
    return found


def _owner(path: list[str], parameters: list[Any]) -> Any:
    """The parameter to which a state at this path belongs, if any."""
    for place in ("state", "averages", "sums"):
        number = path[path.index(place) + 1] if place in path[:-1] else ""
        if number.isdigit() and int(number) < len(parameters):
            return parameters[int(number)]
    return None
