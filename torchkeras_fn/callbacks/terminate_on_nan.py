"""`TerminateOnNaN`: ends a training whose loss is no number any more."""

import math
from collections.abc import Callable
from typing import Any

import torch

from torchkeras_fn.callbacks.callback import Callback
from torchkeras_fn.engine.basics.logs import Logs
from torchkeras_fn.engine.device import sent


class TerminateOnNaN(Callback):
    """Ends the training at the batch whose loss is NaN or infinite; with `raise_error` by a `RuntimeError`.

    On an accelerator, where reading the loss would make every step wait for the device, it is looked at when the next
    batch is done, or the epoch: the training ends one batch later.

    >>> callback = TerminateOnNaN(raise_error=True)
    >>> callback.on_batch_end(3, {"loss": float("nan")})
    Traceback (most recent call last):
        ...
    RuntimeError: Batch 3: NaN or Inf loss encountered: nan. The training is at its end.
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = raise_error
        self._waiting: tuple[int, Callable[[], torch.Tensor]] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget what came before."""
        self._waiting = None

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look at the loss, or at that of the batch before."""
        loss = logs.figures.get("loss") if isinstance(logs, Logs) else (logs or {}).get("loss")
        if loss is None:
            return
        if _is_on_host(loss):
            self._check(batch, float(loss))
        elif self._look():
            self._waiting = batch, sent(loss)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look at the loss of the last batch."""
        self._look()

    def _look(self) -> bool:
        """Look at the loss that was sent; return whether training goes on."""
        waiting, self._waiting = self._waiting, None
        return waiting is None or self._check(waiting[0], float(waiting[1]()))

    def _check(self, batch: int, loss: float) -> bool:
        if math.isfinite(loss):
            return True
        if self.raise_error:
            raise RuntimeError(f"Batch {batch}: NaN or Inf loss encountered: {loss}. The training is at its end.")
        self._print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
        return False


def _is_on_host(loss: Any) -> bool:
    return not isinstance(loss, torch.Tensor) or loss.device.type == "cpu"
