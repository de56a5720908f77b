"""Means and sums of values, and the mean of a function of targets and predictions."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchkeras_fn import portion
from torchkeras_fn.alignment import align_loosely, as_tensor, as_values
from torchkeras_fn.metrics.base import Metric
from torchkeras_fn.metrics.state import State, divide, fit_weights
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import Registry, snake_case

functions = Registry("metric function", {})
"""The functions of targets and predictions that the config of a `MeanMetricWrapper` may name."""


class Mean(Metric):
    """The mean of all values, weighted by `sample_weight`: the mean of the samples' means.

    Weights with an axis for the steps of a sample count step by step.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0])
    >>> float(mean.result())
    2.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None):
        super().__init__(dtype, name)
        self.total = self._counter((), "total")
        self._count = self._counter((), "count")
        self._is_weighted = False
        self._samples = 0  # counted on the host, and not in `_count`

    @property
    def count(self) -> State:
        """How many values, or what sum of weights, the mean is over."""
        return self._settle()

    @property
    def variables(self) -> list[torch.Tensor]:
        """`total`, `count`, and the variables of a subclass."""
        self._settle()
        return super().variables

    def _settle(self) -> State:
        if self._samples:
            self._count.add_(self._samples)
        self._samples, self._is_weighted = 0, True
        return self._count

    def reset_state(self) -> None:
        """Forget all values."""
        if self._is_ours:  # and holds no metrics
            for state in self._states:
                if state is not self._count or self._is_weighted:  # else it is 0 still
                    state.zero_()
        else:
            super().reset_state()
        self._samples, self._is_weighted = 0, False

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in values of any shape; weights of lower rank count for all values of a sample.

        A scalar without a weight is one value of a batch. Where several processes share the batch, theirs make one, each by its rows.
        """
        values, own = torch.as_tensor(values), portion.current()
        if own is not None and values.ndim == 0 and sample_weight is None:
            sample_weight = own.share
        self._gather(values, sample_weight)

    def _gather(self, values: torch.Tensor, weight: Any) -> None:
        values = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
        rank = min(1, values.ndim)
        if weight is not None:
            weight = fit_weights(weight, values)
            rank = weight.ndim
        if values.ndim > rank:
            values = (values if values.dtype.is_floating_point else values.float()).flatten(rank).mean(-1)
        if weight is None:
            self.add(values.sum(), values.shape[0] if rank else 1)
            return
        self.add((values * weight).sum(), 0)
        self._count.add_(weight.sum())
        self._is_weighted = True

    def add(self, value: torch.Tensor, count: int, times: int = 1) -> None:
        """Add a scalar, `times` over, that stands for `count` values. Nothing is read from the device."""
        if self.total.device != value.device:
            self._follow(value.device)
        self.total.add_(value.detach() if value.requires_grad else value, alpha=times)
        self._samples += count

    def result(self) -> torch.Tensor:
        """Return the mean, 0 for no values and for weights of 0 alone."""
        mean = divide(self.total, self.count) if self._is_weighted else self.total / (self._samples or 1)
        return self._finish(mean)

    def number(self) -> float:
        """Return the result, read. The usual mean is divided on the host, which costs a fifth of doing it with tensors."""
        is_usual = not self._is_weighted and self._dtype in ("float32", "float64") and type(self).result is Mean.result
        if not is_usual or self.total.dtype != torch.float64:
            return float(self.result())
        mean: float = self.total.item() / (self._samples or 1)
        return ctypes.c_float(mean).value if self._dtype == "float32" else mean


class Sum(Metric):
    """The sum of all values, each times its weight.

    >>> total = Sum()
    >>> total.update_state([1.0, 3.0], sample_weight=[1.0, 0.5])
    >>> float(total.result())
    2.5
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None):
        super().__init__(dtype, name)
        self.total = self._counter((), "total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in values of any shape; weights of lower rank count for all values of a sample."""
        values = torch.as_tensor(values)
        if sample_weight is not None:
            weight = fit_weights(sample_weight, values)
            values = values.flatten(weight.ndim).sum(-1) * weight if values.ndim > weight.ndim else values * weight
        self._follow(values.device)
        self.total.add_(values.sum())

    def result(self) -> torch.Tensor:
        """Return the sum."""
        return self._finish(self.total)


class MeanMetricWrapper(Mean):
    """The mean of a function `fn(y_true, y_pred, **kwargs)` that returns a value per sample.

    >>> metric = MeanMetricWrapper(lambda y_true, y_pred: (y_true - y_pred).abs(), name="distance")
    >>> metric.update_state(torch.zeros(2), torch.ones(2))
    >>> float(metric.result())
    1.0
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any):
        super().__init__(name or getattr(fn, "__name__", None) or snake_case(type(fn).__name__), dtype)
        self.fn = fn
        self.options = kwargs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in a batch. A function that returns a scalar counts as often as the batch has samples."""
        y_pred = torch.as_tensor(y_pred)
        values = self.compare(as_tensor(y_true, like=y_pred), y_pred)
        self._gather_for(y_pred, values, sample_weight)

    def _gather_for(self, y_pred: torch.Tensor, values: Any, weight: Any) -> None:
        if type(values) is not torch.Tensor or values.dtype.is_complex:
            values = as_values(values, f"The metric {self.name!r}", y_pred)
        if values.ndim == 0 and y_pred.ndim > 0 and weight is None:
            self.add(values, len(y_pred), times=len(y_pred))
        elif values.ndim == 0 and y_pred.ndim > 0:
            self._gather(values.expand(torch.as_tensor(weight).shape), weight)
        else:
            self._gather(values, weight)

    def recipe(self, y_true: torch.Tensor, y_pred: torch.Tensor, kind: str | None = None) -> Callable[[Any, Any], None] | None:
        """Return a function that takes in targets and predictions of just these shapes and types as `update_state` does.

        With a `kind` the predictions are logits. `None` where there is no shorter way than `update_state`.
        """
        return None

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for targets that do not fit, told by tensors without samples."""
        if type(self) is not MeanMetricWrapper:
            self.compare(y_true, y_pred)

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the value of each sample. A user's function is given copies: what it writes into them must not reach the data."""
        y_true = align_loosely(y_true, y_pred)
        if not is_ours(self.fn):
            y_true, y_pred = y_true.clone(), y_pred.clone()
        value: torch.Tensor = self.fn(y_true, y_pred, **self.options)
        return value

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, a function by its name."""
        arguments = super().get_config()
        return arguments | {"fn": functions.serialize(self.fn)} if "fn" in arguments else arguments

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a metric like the one described; the names of one's own functions are found in the custom objects."""
        return cls(**{**config, "fn": functions.get(config["fn"])} if "fn" in config else config)
