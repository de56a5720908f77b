"""`Session`: steps run in training or inference mode, and all that is switched for them is switched back."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from torchkeras_fn.engine.basics import threads
from torchkeras_fn.engine.basics.modes import is_in_mode
from torchkeras_fn.engine.outputs.custom_metrics import keep_figures
from torchkeras_fn.engine.steps import denormals
from torchkeras_fn.engine.steps.indices import explain_index


class Session(threads.Turn):
    """Runs a trainer in training or inference mode, and leaves the modes and the parameters' flags as they were.

    Sessions of several threads over the same modules take turns. One that `gathers` figures in the trainer, as all but predictions
    do, leaves those of another session as they were. Raises `RuntimeError` for training inside `torch.inference_mode()`. A class,
    and no generator with `contextmanager`, since one is entered for every `train_on_batch`.
    """

    _switched: ExitStack | None = None
    """What all threads see, such as the modes."""
    _around: AbstractContextManager[Any] | None = None
    """What this thread alone sees, such as whether there are gradients."""
    _was_in_training = _flushes = _casts_anew = False
    _figures: Callable[[], None] | None = None
    """What brings back the figures so far, where they were set aside."""
    _before: "Session | None" = None
    """Whose figures were set aside for this session's."""

    def __enter__(self) -> None:
        trainer, training = self._trainer, self._training
        needs_nothing = training and torch.is_grad_enabled() and trainer._team is trainer._precision is None and not trainer._frozen
        with threads.guard:
            if threads.under_way or threads.waiting:
                self.wait()
            if not needs_nothing or not is_in_mode(trainer._as_module(), training):
                self._switch()
            self._was_in_training = trainer._in_training
            trainer.__dict__["_in_training"] = training  # past the `__setattr__` of modules, which is slow
            if threads.under_way and self._gathers:
                self._take_figures()
            threads.under_way.append(self)
        if self._switched is not None:
            self._enter_around()
        self._flushes = training and trainer._device.type == "cpu" and denormals.flush()
        if torch._C._is_any_autocast_enabled() and torch.is_autocast_cache_enabled():  # the caller's
            torch.clear_autocast_cache()  # weights change in a session, and may have changed since the last
            torch.set_autocast_cache_enabled(False)
            self._casts_anew = True

    def __exit__(self, *error: Any) -> None:
        if self._casts_anew:
            torch.set_autocast_cache_enabled(True)
        if self._flushes:
            denormals.restore()
        try:
            if self._around is not None:
                self._around.__exit__(*error)
        finally:
            with threads.guard:
                if len(threads.under_way) > 1 or threads.waiting or self._handed_over or self._is_interrupted:
                    self.end()
                    self._give_figures_back()
                else:
                    threads.under_way.clear()
                    self._trainer.__dict__["_in_training"] = self._was_in_training
                    if self._switched is not None:
                        self._switched.close()
        if error[0] is IndexError:
            explain_index(error[1], self._trainer._as_module())
        if error[0] is RuntimeError and not self._training:
            _explain_gradients(error[1])

    # ------------------------------------------------------------------ what all threads see

    def _go_on(self) -> None:
        self._switch()
        self._was_in_training = self._trainer._in_training
        self._trainer.__dict__["_in_training"] = self._training

    def _put_back(self) -> Callable[[], None] | None:
        trainer, switched, was_in_training = self._trainer, self._switched, self._was_in_training

        def put_back() -> None:
            trainer.__dict__["_in_training"] = was_in_training
            if switched is not None:
                switched.close()

        return put_back if was_in_training is not self._training or switched is not None else None

    def _switch(self) -> None:
        """Switch what has to be, and note how it is switched back."""
        trainer, training = self._trainer, self._training
        if training and torch.is_inference_mode_enabled():
            raise RuntimeError("There are no gradients to train with inside torch.inference_mode(): train outside of it.")
        module, switched = trainer._as_module(), ExitStack()
        try:
            if not is_in_mode(module, training):
                before = [(part, part.training) for part in module.modules()]
                module.train(training)
                is_among_others = threads.is_among_others()
                for part, mode in before:
                    if part.training is not mode or not is_among_others:  # else it is another thread's to put back
                        switched.callback(setattr, part, "training", mode)
            for parameter in trainer._frozen if training else ():
                switched.callback(parameter.requires_grad_, True)
                parameter.requires_grad_(False)
            if trainer._precision is not None and trainer._has_own_steps():
                for hook in trainer._precision.hooks(module):
                    switched.callback(hook.remove)
        except BaseException:
            switched.close()
            raise
        self._switched = switched

    # ------------------------------------------------------------------ figures

    def _take_figures(self) -> None:
        """Set aside what another session under way has gathered, as that of an epoch in which a callback or a thread evaluates."""
        for other in threads.under_way:
            if isinstance(other, Session) and other._trainer is self._trainer and other._gathers and other._has_figures:
                if other is self:
                    return
                self._before = other
                other._figures, other._has_figures = keep_figures(self._trainer), False
                break
        if self._figures is not None:
            self._figures()
        self._figures, self._has_figures = None, True

    def _give_figures_back(self) -> None:
        before = self._before
        if self._has_figures and before is not None and before in threads.under_way and before._figures is not None:
            before._figures()
            before._figures, before._has_figures = None, True

    # ------------------------------------------------------------------ what this thread alone sees

    def _enter_around(self) -> None:
        trainer, training, sharding = self._trainer, self._training, self._trainer._sharding
        around = _gradients(training)
        try:
            if sharding is not None or trainer._team is not None:
                around = _together(trainer, training, around)
            around.__enter__()
            self._around = around
        except BaseException:
            with threads.guard:
                self.end()
                self._give_figures_back()
            raise


@contextmanager
def _together(trainer: Any, training: bool, gradients: AbstractContextManager[Any]) -> Iterator[None]:
    """What several processes need around the steps."""
    sharding, team = trainer._sharding, trainer._team
    in_parts = gradients if sharding is None else trainer._in_parts(sharding, training, gradients)
    with in_parts, trainer._training_together(team) if training and team is not None else nullcontext():
        yield


def _explain_gradients(error: Any) -> None:
    """Say how gradients are taken in an evaluation or prediction, where an error of torch's is that there are none."""
    if "does not require grad" in str(error) or "inference tensor" in str(error).lower():
        raise RuntimeError(
            f"{error}. evaluate and predict run under torch.inference_mode(). Where a forward or step takes gradients itself, "
            "write: with torch.inference_mode(False), torch.enable_grad(): x = x.clone().requires_grad_() ..."
        ) from error


def _gradients(training: bool) -> AbstractContextManager[Any]:
    """What switches gradients on for training, if they are off, and all that serves them off for inference."""
    if not training:
        return torch.inference_mode()
    return nullcontext() if torch.is_grad_enabled() else torch.enable_grad()
