"""`TorchMetric`: a metric of torchmetrics, which is called with the predictions first, as one of ours."""

import copy
import inspect
from collections.abc import Iterable
from typing import Any

import torch

from torchkeras_fn.metrics.base import Metric
from torchkeras_fn.registry import snake_case


class TorchMetric(Metric):
    """A `torchmetrics.Metric`, or a `MetricCollection`, as a metric: `compile(metrics=[torchmetrics.Accuracy(...)])`.

    It is moved to the device of the predictions. Targets and predictions of shape `(N, 1)` are passed on as `(N,)`, and
    the targets of metrics of classification as integers; of one-hot targets, a multiclass metric sees the classes. A
    mask leaves the masked steps out. Weights raise `ValueError`, as torchmetrics has none.

    >>> class Largest:  # or any metric of torchmetrics
    ...     def update(self, preds, target): self.largest = preds.max()
    ...     def compute(self): return self.largest
    ...     def reset(self): self.largest = torch.zeros(())
    >>> metric = TorchMetric(Largest())
    >>> metric.update_state(torch.zeros(2), torch.tensor([1.0, 3.0]))
    >>> metric.name, float(metric.result())
    ('largest', 3.0)
    """

    def __init__(self, metric: Any, name: str | None = None):
        super().__init__(name=name or snake_case(type(metric).__name__))
        self.metric = metric
        self._is_updated = False
        parts = list(_parts(metric))
        for part in parts:  # reading a figure in one process must not wait for others, who may not read it
            part.sync_on_compute = part._to_sync = False
        self._takes_classes = any(".classification." in f"{type(part).__module__}." for part in parts)
        self._is_multiclass = any(type(part).__name__.startswith("Multiclass") for part in parts)
        better = {getattr(part, "higher_is_better", None) for part in parts}
        self.direction = "up" if better == {True} else "down" if better == {False} else None

    @property
    def parts(self) -> dict[str, Any]:
        """The metrics of a collection by the names of their figures; empty for a single metric."""
        return {str(name): part for name, part in self.metric.items(copy_state=False)} if is_collection(self.metric) else {}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch. `sample_weight` may be a mask of ones and zeros."""
        y_true, y_pred = self._as_torchmetrics_takes_it(torch.as_tensor(y_true), torch.as_tensor(y_pred))
        if sample_weight is not None:
            y_true, y_pred = self._unmasked(y_true, y_pred, torch.as_tensor(sample_weight, device=y_pred.device))
        if getattr(next(iter(_parts(self.metric))), "device", y_pred.device) != y_pred.device:
            self.metric.to(y_pred.device)
        with torch.inference_mode(False):  # an evaluation may begin what training goes on with
            self.metric.update(y_pred, y_true)
        self._is_updated = True

    def _as_torchmetrics_takes_it(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._is_multiclass and y_true.shape == y_pred.shape and y_pred.ndim == 2 and y_pred.shape[1] > 1:
            y_true = y_true.to(y_pred.dtype).argmax(1)  # torch finds no largest among booleans, which one-hot targets may be
        y_true, y_pred = (values.squeeze(1) if values.ndim == 2 and values.shape[1] == 1 else values for values in (y_true, y_pred))
        return y_true.long() if self._takes_classes else y_true, y_pred

    def _unmasked(self, y_true: torch.Tensor, y_pred: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if mask.shape != y_true.shape[: mask.ndim] or not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError(f"{self.name!r} is a metric of torchmetrics, which takes no sample weights: put it in `metrics`.")
        return y_true[mask != 0], y_pred[mask != 0]

    def result(self) -> Any:
        """Return what the metric computes, 0 before the first batch."""
        if not self._is_updated:
            return {name: torch.zeros(()) for name in self.parts} or torch.zeros(())
        with torch.inference_mode(False), torch.no_grad():
            return self.metric.compute()

    def reset_state(self) -> None:
        """Forget all batches."""
        self._is_updated = False
        with torch.inference_mode(False):
            self.metric.reset()

    def _set_apart(self) -> None:
        self.metric = copy.deepcopy(self.metric)

    def get_config(self) -> dict[str, Any]:
        """Raise `NotImplementedError`: a metric of torchmetrics has no config."""
        raise NotImplementedError(f"{self.name!r} is a metric of torchmetrics, which has no config to be written down.")


def is_torch_metric(item: Any) -> bool:
    """Return whether an object is a metric as torchmetrics makes them, told by its methods.

    >>> is_torch_metric(torch.nn.MSELoss())
    False
    """
    return not inspect.isclass(item) and all(callable(getattr(item, name, None)) for name in ("update", "compute", "reset"))


def is_collection(metric: Any) -> bool:
    """Return whether a metric is a `torchmetrics.MetricCollection`.

    >>> is_collection(torch.nn.MSELoss())
    False
    """
    return is_torch_metric(metric) and callable(getattr(metric, "add_metrics", None))


def _parts(metric: Any) -> Iterable[Any]:
    return metric.values(copy_state=False) if is_collection(metric) else (metric,)
