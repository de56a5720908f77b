"""What layers and models add to the loss and the metrics, besides what `compile` was given."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from torchkeras_fn.engine.symbolic import KerasTensor


class Collected:
    """The loss terms and metric values that layers added while they ran."""

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []
        self.metrics: list[tuple[str, torch.Tensor]] = []
        self.layers: list[Additions] = []
        """Those that added the losses."""

    def give_back(self, model: "Additions") -> None:
        """Leave the terms with the layers that added them, all of those that ran several times, and the figures with their model."""
        for layer in self.layers:
            layer.forget_losses()
        for layer, loss in zip(self.layers, self.losses, strict=True):
            layer._last_losses = (*layer._last_losses, loss)
        if self.metrics or model._last_metrics:
            model._last_metrics = tuple(self.metrics)


_collected: Collected | None = None


@contextmanager
def collecting() -> Iterator[Collected]:
    """Gather what layers add inside the `with` block.

    >>> with collecting() as collected:
    ...     Additions().add_loss(torch.tensor(2.0))
    >>> collected.losses
    [tensor(2.)]
    """
    global _collected
    outer, _collected = _collected, Collected()
    try:
        yield _collected
    finally:
        _collected = outer


def is_collecting() -> bool:
    """Return whether what layers add is gathered by a step, or by the call of a model.

    >>> is_collecting()
    False
    """
    return _collected is not None


class Additions:
    """The part of a layer that adds terms: symbolic ones to the graph, real ones while it runs.

    >>> layer = Additions()
    >>> layer.add_loss(torch.tensor(2.0))
    >>> layer.losses
    [tensor(2.)]
    """

    _symbolic_losses: tuple[KerasTensor, ...] = ()
    _symbolic_metrics: tuple[tuple[str, KerasTensor], ...] = ()
    _loss_functions: tuple[Callable[[], Any], ...] = ()
    _last_losses: tuple[torch.Tensor, ...] = ()
    _last_metrics: tuple[tuple[str, torch.Tensor], ...] = ()
    _adds_as_it_runs: bool = True
    """Whether the layer may add terms in its own `call`, or step; else they come from outside, once."""

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Add terms to the loss: symbolic tensors, functions without arguments, or, inside `call`, tensors.

        A term that is no scalar counts by its mean. Raises `ValueError` for a tensor where no call of the user's can be running.
        """
        for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
            if isinstance(loss, KerasTensor):
                self._symbolic_losses = (*self._symbolic_losses, loss)
            elif callable(loss) and not isinstance(loss, torch.Tensor):
                self._loss_functions = (*self._loss_functions, loss)
            elif _collected is not None or self._adds_as_it_runs:
                self.add_term(torch.as_tensor(loss))
            else:
                raise ValueError(
                    f"add_loss of {self!r} got {loss!r}, which would not change with the weights. Give a function without arguments "
                    "that computes the term anew in each step, as in 'add_loss(lambda: ...)', or a symbolic tensor of the model."
                )

    def add_term(self, loss: torch.Tensor) -> None:
        """Add a term to the loss of the step, or of the call by hand, that is running."""
        if _collected is not None:
            _collected.losses.append(loss)
            _collected.layers.append(self)
        else:
            self._last_losses = (*self._last_losses, loss)

    def add_metric(self, value: Any, name: str | None = None, aggregation: str = "mean") -> None:
        """Add a figure to the logs: the mean over the batches of a symbolic tensor or, inside `call`, of a tensor."""
        if name == "loss":
            raise ValueError("A figure cannot be called 'loss': that is the name of the total loss.")
        if aggregation not in ("mean", None):
            raise ValueError(f"'aggregation' must be 'mean', got {aggregation!r}.")
        if isinstance(value, KerasTensor):
            self._symbolic_metrics = (*self._symbolic_metrics, (name or value.name, value))
        elif _collected is not None:
            _collected.metrics.append((name or "metric", torch.as_tensor(value).detach()))

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Do nothing: in torch what `updates` stands for, such as `backend.update(...)`, has happened when it is called."""

    @property
    def losses(self) -> list[torch.Tensor]:
        """The terms that were added when the layer last ran outside of training."""
        return list(self._last_losses)

    def forget_losses(self) -> None:
        """Begin a new run: terms of the last one are dropped."""
        if self._last_losses:
            self._last_losses = ()
