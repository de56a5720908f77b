"""`SwapEMAWeights`: evaluates a model with the running means of its weights."""

from typing import Any

from torchkeras_fn.callbacks.callback import Callback


class SwapEMAWeights(Callback):
    """Gives the model the running means of its weights for evaluations and predictions, and then its weights back.

    The optimizer keeps the means with `use_ema=True`. With `swap_on_epoch` the model also has them from the end of an
    epoch to the beginning of the next, so that callbacks further down the list see them, such as a `ModelCheckpoint`.
    After a training with it the model has the means, as after any with `use_ema`.

    Raises `ValueError` when a training, an evaluation or a prediction begins, for an optimizer without `use_ema`.

    >>> SwapEMAWeights(swap_on_epoch=True).swap_on_epoch
    True
    """

    def __init__(self, swap_on_epoch: bool = False):
        self.swap_on_epoch = swap_on_epoch

    @property
    def _optimizer(self) -> Any:
        optimizer = getattr(self.model, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
        if not getattr(optimizer, "use_ema", False):
            raise ValueError(
                "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer, which keeps the running means then; "
                f"this one is a {type(optimizer).__name__} without."
            )
        return optimizer

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin with the weights."""
        self._optimizer.swapped = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Train the weights, not their means."""
        self._optimizer.swapped = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the means to the callbacks that follow, if asked to."""
        if self.swap_on_epoch:
            self._optimizer.swapped = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Evaluate the means."""
        self._optimizer.swapped = True

    def on_test_end(self, logs: Any = None) -> None:
        """Give the weights back."""
        self._optimizer.swapped = False

    def on_predict_begin(self, logs: Any = None) -> None:
        """Predict with the means."""
        self._optimizer.swapped = True

    def on_predict_end(self, logs: Any = None) -> None:
        """Give the weights back."""
        self._optimizer.swapped = False
