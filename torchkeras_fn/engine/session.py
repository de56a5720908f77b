"""`Session`: steps run in training or inference mode, and all that is switched for them is switched back."""

from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch

from torchkeras_fn.engine import denormals
from torchkeras_fn.engine.inference import is_in_mode


class Session:
    """Runs a trainer in training or inference mode, and leaves the modes and the parameters' flags as they were.

    Raises `RuntimeError` for training inside `torch.inference_mode()`. A class, and no generator with `contextmanager`, since
    one is entered for every `train_on_batch`.
    """

    def __init__(self, trainer: Any, training: bool):
        self._trainer, self._training = trainer, training
        self._switched: ExitStack | None = None
        self._was_in_training = self._flushes = False

    def __enter__(self) -> None:
        trainer, training = self._trainer, self._training
        needs_nothing = training and torch.is_grad_enabled() and trainer._team is trainer._precision is None and not trainer._frozen
        if not needs_nothing or not is_in_mode(trainer._as_module(), training):
            with ExitStack() as switched:
                self._switch(switched)
                self._switched = switched.pop_all()
        self._was_in_training = trainer._in_training
        trainer.__dict__["_in_training"] = training  # past the `__setattr__` of modules, which is slow
        self._flushes = training and trainer._device.type == "cpu" and denormals.flush()

    def __exit__(self, *error: Any) -> None:
        self._trainer.__dict__["_in_training"] = self._was_in_training
        if self._flushes:
            denormals.restore()
        if self._switched is not None:
            self._switched.__exit__(*error)

    def _switch(self, switched: ExitStack) -> None:
        """Switch what has to be, and note how it is switched back."""
        trainer, training = self._trainer, self._training
        if training and torch.is_inference_mode_enabled():
            raise RuntimeError("There are no gradients to train with inside torch.inference_mode(): train outside of it.")
        module = trainer._as_module()
        if not is_in_mode(module, training):
            for part in module.modules():
                switched.callback(setattr, part, "training", part.training)
            module.train(training)
        for parameter in trainer._frozen if training else ():
            switched.callback(parameter.requires_grad_, True)
            parameter.requires_grad_(False)
        if trainer._precision is not None and trainer._has_own_steps():
            for hook in trainer._precision.hooks(module):
                switched.callback(hook.remove)
        gradients = _gradients(training)
        sharding = trainer._sharding
        switched.enter_context(gradients if sharding is None else trainer._in_parts(sharding, training, gradients))
        if training and trainer._team is not None:
            switched.enter_context(trainer._training_together(trainer._team))


def _gradients(training: bool) -> AbstractContextManager[Any]:
    """What switches gradients on for training, if they are off, and all that serves them off for inference."""
    if not training:
        return torch.inference_mode()
    return nullcontext() if torch.is_grad_enabled() else torch.enable_grad()
