"""Reactions to what happens in training."""

from torchkeras_fn.callbacks.base import Callback, CallbackList
from torchkeras_fn.callbacks.history import History

__all__ = ["Callback", "CallbackList", "History"]
