"""`Run`: a call of `fit` while it goes on, and all that another process must know to go on with it."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from torchkeras_fn.callbacks.backup_and_restore import BackupAndRestore
from torchkeras_fn.callbacks.base import CallbackList
from torchkeras_fn.engine.basics.logs import Logs
from torchkeras_fn.engine.basics.random_state import (
    check_random_state,
    device_states,
    generators_of,
    random_state,
    set_device_states,
    set_generators_of,
    set_random_state,
)
from torchkeras_fn.engine.batches.groups import Listener, steps_of
from torchkeras_fn.engine.batches.loading import Epochs
from torchkeras_fn.engine.batches.position import Place, checksum
from torchkeras_fn.engine.distributed import shared_state
from torchkeras_fn.saving.own_state import load_own_states, own_states
from torchkeras_fn.saving.training_state import check_optimizer_state, constant_rate
from torchkeras_fn.shards import like, state_in_parts, whole_tree

_HAS_A_PLACE = ("optimizer",)
"""Attributes of the model that is trained whose state is kept under a name of its own."""


class Run:
    """A call of `fit`: the model, its data, its callbacks, and how far it has come.

    With a `BackupAndRestore` among the callbacks, which may go on with the run of another process, `epochs_to_do` begins
    at the epoch in which that one was, and `batch` of its batches are done. Without one nothing here costs anything.

    Raises `ValueError` for several of them, for a backup that cannot be used, and for one that was made by a training of
    another model, optimizer, or other data; nothing has changed then.
    """

    def __init__(self, trainer: Any, train: Epochs, validation: Epochs | None, callbacks: CallbackList, initial_epoch: int, epochs: int):
        self.trainer, self.callbacks, self.epochs = trainer, callbacks, epochs
        self.data = {"training data": train, **({} if validation is None else {"validation data": validation})}
        self.first_epoch, self.batch = initial_epoch, 0
        self._resumed: Mapping[str, Any] | None = None
        self._before: Mapping[str, Any] | None = None
        backups = [callback for callback in callbacks if isinstance(callback, BackupAndRestore)]
        if len(backups) > 1:
            raise ValueError(f"A training has one BackupAndRestore, but {len(backups)} were given.")
        self._backup = backups[0] if backups else None
        if self._backup is not None:
            for watched in self.data.values():
                watched.watch()
            self.made_for = self._describe()
            self._rows = {name: checksum(getattr(epochs.source, "columns", ())) for name, epochs in self.data.items()}
            found = self._found()
            self._resume(found)
            if found is None:
                self._backup.begin()

    def _found(self) -> Mapping[str, Any] | None:
        """The state in the backup, which of several processes the first alone reads, as it is for this one."""
        team, backup = self.trainer._team, self._backup
        if backup is None:
            return None
        state = backup.load(self.made_for) if team is None or team.is_first else None
        if team is not None:
            state = shared_state.from_first(state, team)
        rank, count = (0, 1) if team is None else (team.rank, team.count)
        return None if state is None else shared_state.taken_apart(state, rank, count)

    def _resume(self, state: Mapping[str, Any] | None) -> None:
        if state is None:
            return
        self._check_epoch(state)
        if self.trainer._sharding is None:  # whose parts would not all be there twice
            self._before = copy.deepcopy({**self._kept(), "gradients": {}, "stop_training": bool(self.trainer.stop_training)})
        with self._or_as_before():
            with self._or_unusable():
                self._check(state)
                self._load(copy.deepcopy(state) if state["batch"] else state)
            if state["batch"]:
                self._resumed = state  # to be loaded again when the callbacks have been told that the epoch begins
            else:
                self._seek(state)
                self._before = None
        self.first_epoch, self.batch = state["epoch"], state["batch"]
        if self.trainer.is_first_process and state.get("rows", self._rows) != self._rows:
            warnings.warn(
                "The backup was made with other rows of data, of the same number: training goes on, but not as if it had never stopped. "
                "Seed what draws or splits the data, for it to be the same in each run of the script.",
                UserWarning,
                stacklevel=4,
            )

    def _check_epoch(self, state: Mapping[str, Any]) -> None:
        """Raise `ValueError` for a backup from before this training or after it, as that of another `fit` of the script is."""
        epoch = state.get("epoch")
        if type(epoch) is not int:
            return
        if epoch < self.first_epoch:
            raise ValueError(
                f"The backup is of epoch {epoch}, counted from 0, but the training begins at initial_epoch={self.first_epoch}. "
                "Remove the backup, or begin earlier."
            )
        if epoch + bool(state.get("batch")) > self.epochs:
            raise ValueError(
                f"The backup is of epoch {epoch}, counted from 0, but the training ends at epochs={self.epochs}. If another fit of the "
                "script made it, give each a backup_dir of its own. Remove the backup, or train for longer."
            )

    @contextmanager
    def _or_as_before(self) -> Iterator[None]:
        """Give model and callbacks back what they were, where the block fails."""
        try:
            yield
        except BaseException:
            before, self._before = self._before, None
            if before is not None:
                self._load(before)
                _forget_generators(self.trainer, before["modules"])
                set_random_state(before["random"])
                set_device_states(before["devices"])
            raise

    @contextmanager
    def _or_unusable(self) -> Iterator[None]:
        """Raise `ValueError` for whatever is no state of this training."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            path = None if self._backup is None else self._backup.path
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            reason = f"{kind}{error}"[:1000].rstrip(".")
            raise ValueError(f"The backup {path} cannot be used: {reason}. Remove it to begin anew.") from error

    def _check(self, state: Mapping[str, Any]) -> None:
        """Raise `ValueError` for what torch would take, and then fail with, or read past its end."""
        for name in ("epoch", "batch"):
            if type(state[name]) is not int or not 0 <= state[name] < 2**62:
                raise ValueError(f"{name!r} is {state[name]!r:.80}, which is no number of them")
        check_optimizer_state(self.trainer.optimizer, state["optimizer"])
        check_random_state(state["random"])
        for name, epochs in self.data.items():
            _check_position(name, state["positions"][name], epochs)

    # ------------------------------------------------------------------ what fit asks

    def epochs_to_do(self) -> range:
        """Return the epochs that are left."""
        over = not self.batch and (self.trainer.stop_training or self.data["training data"].exhausted)
        return range(self.first_epoch, self.first_epoch if over else self.epochs)

    def begin_epoch(self) -> tuple[int, Any, bool]:
        """Come back into the epoch, if another process was in it: return its batches done, their figures, and whether to stop."""
        state, self._resumed, done = self._resumed, None, self.batch
        if state is None:
            return 0, None, False
        with self._or_as_before():
            with self._or_unusable():
                self._load(state)
                self.trainer.objective.load_state_dict(state["objective"])
            self._seek(state)
        self._before, self.batch = None, 0
        result = self.trainer.objective.running if state["result"] is None else state["result"]
        return done, result, bool(state["stop_training"])

    def batch_listeners(self, epoch: int) -> list[Listener]:
        """Return what is to be called after each batch of an epoch."""
        backup = self._backup
        if backup is None or not backup.counts_batches:
            return []

        def batch_is_over(index: int, batch: Any, result: Any) -> None:
            if backup.is_due_after(steps_of(batch)):
                self._save(backup, self._state(epoch, index + 1, result))

        return [batch_is_over]

    def epoch_is_over(self, epoch: int) -> None:
        """Make a backup, if it is time."""
        if self._backup is not None and self._backup.is_due_after_epoch():
            self._save(self._backup, self._state(epoch + 1, 0, None))

    def is_over(self) -> None:
        """Remove the backup, if that was asked for."""
        if self._backup is not None:
            self._backup.finish()

    def _save(self, backup: BackupAndRestore, state: dict[str, Any]) -> None:
        team = self.trainer._team
        if team is not None:
            state = shared_state.put_together(state, team, without=() if self.trainer._sharding is None else ("gradients",))
        if team is None or team.is_first:
            backup.save(self.made_for, state)

    # ------------------------------------------------------------------ state

    def _state(self, epoch: int, batch: int, result: Any) -> dict[str, Any]:
        """All that is needed to go on with a batch of an epoch."""
        trainer = self.trainer
        own_step = trainer._overrides_train_step()
        state = {
            "epoch": epoch,
            "batch": batch,
            "stop_training": bool(trainer.stop_training),
            "result": dict(Logs(result or {})) if own_step and batch else None,
            "objective": trainer.objective.state_dict() if batch else None,
            "gradients": _gradients(trainer) if own_step else {},
            **self._kept(),
            "positions": {name: epochs.position() for name, epochs in self.data.items()},
            "rows": self._rows,
        }
        return state if trainer._sharding is None else whole_tree(state, kept=trainer._team.is_first)  # type: ignore[no-any-return]

    def _kept(self) -> dict[str, Any]:
        """What model, optimizer, callbacks and random generators are now."""
        trainer = self.trainer
        return {
            "random": random_state(),
            "devices": device_states(),
            "callbacks": self.callbacks.state_dict()["callbacks"],
            "weights": dict(trainer.state_dict()),
            "buffers": dict(_hidden_buffers(trainer) if trainer._team is None else trainer.named_buffers()),
            "modules": _states_of_modules(trainer),
            "learning_rate": constant_rate(trainer.optimizer),
            "optimizer": trainer.optimizer.state_dict(),
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        """Give model and callbacks back what `_state` returned."""
        trainer = self.trainer
        self.callbacks.load_state_dict(state)
        weights = trainer.state_dict()  # which also says of what version its modules are
        weights.update({name: like(weights[name], value) if name in weights else value for name, value in state["weights"].items()})
        trainer.load_state_dict(weights)
        for name, values in state["buffers"].items():
            _set_hidden_buffer(trainer, name, values)
        modules = dict(trainer.named_modules())
        for path, own in state["modules"].items():
            set_generators_of(modules[path], own["generators"])
        load_own_states(trainer, {path: own["others"] for path, own in state["modules"].items()}, _HAS_A_PLACE)
        if state["learning_rate"] is not None:
            trainer.optimizer.learning_rate = state["learning_rate"]
        trainer.optimizer.load_state_dict(state_in_parts(trainer.optimizer, state["optimizer"]))
        parameters = dict(trainer.named_parameters())
        for name, gradient in state["gradients"].items():
            parameters[name].grad = like(parameters[name], gradient.to(parameters[name].device))
        trainer.stop_training = state["stop_training"]

    def _seek(self, state: Mapping[str, Any]) -> None:
        """Go where the data was, and set all random generators last."""
        states = dict(state["random"])
        for name, epochs in self.data.items():
            position = state["positions"][name]
            if name != "training data" and epochs.source.restarts:
                position = {**position, "start": None}  # an evaluation begins anew
            states |= epochs.seek(position, state["batch"] if name == "training data" else 0)
            epochs.spare = tree_map_only(torch.Tensor, lambda tensor: tensor.to(self.trainer._device), epochs.spare)
        set_random_state(states)
        set_device_states(state["devices"])

    def _describe(self) -> dict[str, Any]:
        """What a backup must have been made for."""
        trainer = self.trainer
        trained = {id(parameter) for parameter in trainer._collected}
        return {
            "weights": {name: _shape(value) for name, value in trainer.state_dict().items() if isinstance(value, torch.Tensor)},
            "optimizer": type(trainer.optimizer).__name__,
            "trained weights": [name for name, parameter in trainer.named_parameters() if id(parameter) in trained],
            **({} if trainer._team is None else {"processes": trainer._team.count}),
            **trainer._execution.differing_settings,
            **trainer.objective.asked_for,
            **{name: _described(epochs) for name, epochs in self.data.items()},
        }


def _check_position(name: str, position: Any, epochs: Epochs) -> None:
    """Raise `ValueError` for what is no place in data: where a place is sought, the user's own code is run too."""
    holders = epochs.source.holders()
    if type(position["batches"]) is not int or not 0 <= position["batches"] < 2**62:
        raise ValueError(f"the place in the {name} is batch {position['batches']!r:.80}")
    if not isinstance(position["source"], Mapping) or not all(type(position[key]) is bool for key in ("begun", "exhausted")):
        raise ValueError(f"of the {name} it is not said what had become of them")
    Place.from_state({"shared": {}, "own": position["now"]}).check(holders)
    for key in ("start", "ahead"):
        if position[key] is not None:
            Place.from_state(position[key]).check(holders)


def _described(epochs: Epochs) -> dict[str, Any]:
    source = epochs.source
    size = getattr(source, "batch_size", None) or getattr(getattr(source, "loader", None), "batch_size", None)
    return {
        "kind": type(source).__name__.removesuffix("Source").lower(),
        "samples": source.samples,
        "batches": source.steps,
        "batch size": size if isinstance(size, int) else None,
        "steps per epoch": epochs.steps,
        "shuffle": getattr(source, "shuffle", None),
    }


def _shape(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    """The gradients that a training step of the user's may be gathering."""
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def _hidden_buffers(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The buffers that are not in the `state_dict`, such as the states of stateful recurrent layers."""
    for path, part in module.named_modules():
        for name in part._non_persistent_buffers_set:
            value = part._buffers.get(name)
            if value is not None:
                yield f"{path}.{name}".removeprefix("."), value


def _set_hidden_buffer(module: nn.Module, full_name: str, values: torch.Tensor) -> None:
    path, _, name = full_name.rpartition(".")
    part = module.get_submodule(path)
    own = part._buffers.get(name)
    if own is not None and own.shape == values.shape and own.dtype == values.dtype:
        own.copy_(values)
        return
    device = next((tensor.device for tensor in [*part.parameters(), *part.buffers()]), values.device)
    part.register_buffer(name, values.to(device), persistent=False)


def _states_of_modules(trainer: nn.Module) -> dict[str, Any]:
    """What modules keep beside their tensors: random generators, metrics, and things with a `state_dict`, such as a loss scaler."""
    others, generators = own_states(trainer, _HAS_A_PLACE), {path: generators_of(module) for path, module in trainer.named_modules()}
    return {path: {"generators": own, "others": others.get(path, {})} for path, own in generators.items() if own or path in others}


def _forget_generators(module: nn.Module, kept: Mapping[str, Any]) -> None:
    """Take away random generators that layers make when they need them, and had not made so far."""
    for path, part in module.named_modules():
        known = kept.get(path, {}).get("generators", {})
        for name, value in vars(part).items():
            if isinstance(value, torch.Generator) and name not in known:
                setattr(part, name, None)
