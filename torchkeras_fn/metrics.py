"""Metrics: figures gathered over many batches. They live on the device, and are read when somebody asks."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchkeras_fn import losses
from torchkeras_fn.alignment import align, align_loosely, weighted
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.registry import Registry


class Metric(Configurable):
    """A figure over all batches since `reset_state()`. Subclasses define the three methods below.

    >>> class Largest(Metric):
    ...     largest = torch.tensor(0.0)
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.largest = torch.maximum(self.largest, y_pred.max())
    ...     def result(self):
    ...         return self.largest
    ...     def reset_state(self):
    ...         self.largest = torch.tensor(0.0)
    >>> metric = Largest()
    >>> metric.update_state(None, torch.tensor([3.0]))
    >>> float(metric.result())
    3.0
    """

    def __init__(self, name: str | None = None):
        self.name = name or type(self).__name__

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        raise NotImplementedError

    def result(self) -> Any:
        """Return the figure so far: a scalar tensor on the device."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def reset_states(self) -> None:
        """Forget all batches, under Keras 2's name."""
        self.reset_state()

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return an `update_state` for predictions before their `'softmax'` or `'sigmoid'`; `None` where there is none."""
        return None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take in a batch, and return the figure so far."""
        self.update_state(*args, **kwargs)
        return self.result()


class Mean(Metric):
    """The mean of all values, weighted by `sample_weight`.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0])
    >>> float(mean.result())
    2.0
    """

    def __init__(self, name: str | None = None):
        super().__init__(name or "mean")
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all values."""
        self._total: torch.Tensor | None = None
        self._count: Any = 0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in values of any shape; weights of lower rank count for all values of a sample."""
        values = torch.as_tensor(values)
        if sample_weight is None:
            self.add(values.sum(), values.numel())
            return
        ones = torch.ones_like(values, dtype=values.dtype if values.dtype.is_floating_point else torch.float32)
        self.add(weighted(values.to(ones.dtype), sample_weight).sum(), 1)
        self._count = self._count - 1 + weighted(ones, sample_weight).sum()

    def add(self, value: torch.Tensor, count: int, times: int = 1) -> None:
        """Add a scalar, `times` over, that stands for `count` values. Nothing is read from the device."""
        if self._total is None:
            precise = torch.float32 if value.device.type == "mps" else torch.float64
            with torch.inference_mode(False):  # an evaluation may begin what training goes on with
                self._total = torch.zeros((), dtype=precise, device=value.device)
        self._total.add_(value, alpha=times)
        self._count += count

    def result(self) -> torch.Tensor:
        """Return the mean, 0 for no values and for weights of 0 alone."""
        if self._total is None:
            return torch.zeros(())
        mean = self._total / self._count
        return torch.where(self._count == 0, 0.0, mean) if isinstance(self._count, torch.Tensor) else mean


class MeanMetricWrapper(Mean):
    """The mean of a function `fn(y_true, y_pred)` that returns a value per sample.

    >>> metric = MeanMetricWrapper(lambda y_true, y_pred: (y_true - y_pred).abs(), name="distance")
    >>> metric.update_state(torch.zeros(2), torch.ones(2))
    >>> float(metric.result())
    1.0
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None):
        self.fn = fn
        super().__init__(name or getattr(fn, "__name__", "metric"))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in a batch. A function that returns a scalar counts as often as the batch has samples."""
        y_pred = torch.as_tensor(y_pred)
        values = torch.as_tensor(self.compare(torch.as_tensor(y_true), y_pred))
        if values.ndim == 0 and y_pred.ndim > 0 and sample_weight is None:
            self.add(values, len(y_pred), times=len(y_pred))
        elif values.ndim == 0 and y_pred.ndim > 0:
            super().update_state(values.expand(torch.as_tensor(sample_weight).shape), sample_weight)
        else:
            super().update_state(values, sample_weight)

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for targets that do not fit, told by tensors without samples."""
        if self.is_plain and type(self) is not MeanMetricWrapper:
            self.compare(y_true, y_pred)

    @property
    def is_plain(self) -> bool:
        """Whether this library computes the values, not a user's subclass, which sees what the model returns."""
        return {type(self).update_state.__module__, type(self).compare.__module__} == {__name__}

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the value of each sample."""
        value: torch.Tensor = self.fn(align_loosely(y_true, y_pred), y_pred)
        return value


def binary_accuracy(y_true: torch.Tensor, y_pred: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Return the share of each sample's values that lie on the same side of `threshold` as the targets say.

    >>> binary_accuracy(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.7, 0.6]]))
    tensor([0.5000])
    """
    hits = ((y_pred > threshold) == align(y_true, y_pred)).float()
    return hits.mean(-1) if hits.ndim > 1 else hits


def categorical_accuracy(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    """Return whether the largest prediction is at the largest target, for each sample.

    >>> categorical_accuracy(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.4, 0.6]]))
    tensor([1.])
    """
    return (align(y_true, y_pred).argmax(-1) == y_pred.argmax(-1)).float()


def sparse_categorical_accuracy(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    """Return whether the largest prediction is at the target class, for each sample.

    >>> sparse_categorical_accuracy(torch.tensor([1]), torch.tensor([[0.4, 0.6]]))
    tensor([1.])
    """
    return (y_pred.argmax(-1) == align(y_true, y_pred, indices=True)).float()


class BinaryAccuracy(MeanMetricWrapper):
    """The share of values on the right side of `threshold`.

    >>> float(BinaryAccuracy()(torch.tensor([1.0, 0.0]), torch.tensor([[0.7], [0.6]])))
    0.5
    """

    def __init__(self, name: str = "binary_accuracy", threshold: float = 0.5):
        super().__init__(binary_accuracy, name)
        self.threshold = threshold

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the share of each sample."""
        return binary_accuracy(y_true, y_pred, self.threshold)

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return the same metric on logits: a sigmoid is above 1/2 where its argument is positive."""
        if kind != "sigmoid" or self.threshold != 0.5 or not self.is_plain:
            return None
        return lambda y_true, y_pred, weight: Mean.update_state(self, binary_accuracy(y_true, y_pred, 0.0), weight)


class CategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest prediction is at the largest target.

    >>> float(CategoricalAccuracy()(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.4, 0.6]])))
    1.0
    """

    def __init__(self, name: str = "categorical_accuracy"):
        super().__init__(categorical_accuracy, name)

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return 1 or 0 for each sample."""
        return align(y_true, y_pred).argmax(-1) == y_pred.argmax(-1)

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return the same metric: a softmax leaves the order as it is."""
        return self.update_state if kind == "softmax" and self.is_plain else None


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest prediction is at the target class.

    >>> float(SparseCategoricalAccuracy()(torch.tensor([1]), torch.tensor([[0.4, 0.6]])))
    1.0
    """

    def __init__(self, name: str = "sparse_categorical_accuracy"):
        super().__init__(sparse_categorical_accuracy, name)

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return 1 or 0 for each sample."""
        return y_pred.argmax(-1) == align(y_true, y_pred, indices=True)

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return the same metric: a softmax leaves the order as it is."""
        return self.update_state if kind == "softmax" and self.is_plain else None


class LossMetric(MeanMetricWrapper):
    """A loss as a metric: the mean of its values over all samples.

    >>> float(LossMetric(losses.MeanSquaredError(), name="mse")(torch.zeros(2, 1), torch.ones(2, 1)))
    1.0
    """

    def __init__(self, loss: losses.Loss, name: str | None = None):
        super().__init__(loss.call, name or loss.name or type(loss).__name__)
        self.loss = loss

    def check(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Raise `ValueError` for targets that do not fit."""
        self.loss.align(y_true, y_pred)

    def compare(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """Return the loss of each sample."""
        return self.loss.call(self.loss.align(y_true, y_pred), y_pred)

    def on_logits(self, kind: str) -> "Callable[[Any, Any, Any], None] | None":
        """Return an update with the loss's own form for logits."""
        loss = self.loss.on_logits(kind)
        if loss is None:
            return None
        return lambda y_true, y_pred, weight: Mean.update_state(self, loss.call(loss.align(y_true, y_pred), y_pred), weight)

    def like_a_loss(self, kind: str | None = None) -> "Callable[[Any, Any, Any], None] | None":
        """Return an update that divides by the number of samples, as losses do, not by the sum of the weights.

        With a `kind` it is one for logits, `None` where the loss has no such form.
        """
        loss = self.loss if kind is None else self.loss.on_logits(kind)
        return None if loss is None else _AverageOfLosses(self, loss)


class _AverageOfLosses:
    """Adds the loss of a batch to a metric, once for each sample."""

    is_like_a_loss = True

    def __init__(self, metric: Mean, loss: losses.Loss):
        self.metric, self.loss = metric, loss

    def __call__(self, y_true: torch.Tensor, y_pred: torch.Tensor, weight: Any) -> None:
        values = weighted(self.loss.call(self.loss.align(y_true, y_pred), y_pred), weight)
        self.metric.add(values.mean(), len(y_pred), times=len(y_pred))


ACCURACY = ("accuracy", "acc")
"""The names that mean whichever accuracy fits the loss, the output and the targets."""


def choose_accuracy(loss: Any, y_true_shape: Any, y_pred_shape: Any) -> type[Mean]:
    """Return the accuracy that `'accuracy'` means here.

    Binary where the loss is binary crossentropy or the output has one unit, sparse where targets are class indices,
    else categorical.

    >>> choose_accuracy(None, (4,), (4, 3)).__name__
    'SparseCategoricalAccuracy'
    """
    indices = len(y_true_shape) < len(y_pred_shape) or (y_true_shape[-1:] == (1,) and y_pred_shape[-1:] != (1,))
    if losses.is_binary(loss) or tuple(y_pred_shape[1:])[-1:] in ((), (1,)):
        return BinaryAccuracy
    if getattr(loss, "indices", False) or indices:
        return SparseCategoricalAccuracy
    return CategoricalAccuracy


registry = Registry(
    "metric",
    {
        "binary_accuracy": BinaryAccuracy,
        "categorical_accuracy": CategoricalAccuracy,
        "sparse_categorical_accuracy": SparseCategoricalAccuracy,
        "mean": Mean,
        **{name: loss for name, loss in losses.registry.entries.items()},
    },
    losses.ALIASES,
)


def get(identifier: Any) -> Any:
    """Return a `Metric` for a name, a config, a metric or loss, or a function `(y_true, y_pred)`; `None` stays `None`.

    `'accuracy'` depends on the loss and the data: see `choose_accuracy`. Raises `ValueError` for an unknown name,
    with the nearest known one.

    >>> get("mse").name
    'mse'
    """
    if isinstance(identifier, str) and identifier in ACCURACY:
        return identifier
    if inspect.isclass(identifier) and issubclass(identifier, Metric):
        return identifier()
    found = registry.get(identifier)
    name = identifier if isinstance(identifier, str) else None
    if found is None or hasattr(found, "update_state"):
        if name:
            found.name = name
        return found
    if losses.in_torch_order(found) or not inspect.isfunction(found) or found in losses._FUNCTIONS:
        loss = losses.get(found)
        if not isinstance(loss, losses.FunctionLoss):
            return LossMetric(loss, name or getattr(found, "__name__", None))
    return MeanMetricWrapper(found, name)


def serialize(metric: Any) -> Any:
    """Return the name or config that `deserialize` turns back into the metric.

    >>> serialize(BinaryAccuracy())["class_name"]
    'BinaryAccuracy'
    """
    if isinstance(metric, LossMetric):
        return losses.serialize(metric.loss)
    return registry.serialize(metric.fn if type(metric) is MeanMetricWrapper else metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the metric that `serialize` described.

    >>> deserialize("binary_accuracy").name
    'binary_accuracy'
    """
    return get(registry.deserialize(config, custom_objects))
