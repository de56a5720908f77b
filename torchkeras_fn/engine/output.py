"""`Output`: the loss and the metrics of one output of a model, in plain form and in the form for logits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from torchkeras_fn import losses
from torchkeras_fn.alignment import combine
from torchkeras_fn.metrics import LossMetric, Mean, MeanMetricWrapper, TorchMetric, choose, is_open
from torchkeras_fn.metrics import get as get_metric

Update = Callable[[Any, Any, Any], None]


class Output:
    """One output: its loss, the weight of that loss, and its metrics, in plain form and in the form for logits."""

    def __init__(self, name: str, loss: Any, loss_weight: float, figures: Sequence[tuple[str, Any, bool]], prefix: str = ""):
        self.name, self.prefix = name, prefix
        self.loss: Any = loss
        self.loss_weight = loss_weight
        self.requested = list(figures)
        self.metrics: list[tuple[str, Any, bool]] | None = None
        self.seen: list[list[int]] | None = None
        """The shapes of the targets and predictions that decided what the metrics are."""
        self.mean_loss = Mean(f"{name}_loss", "float64")
        self._parts: dict[str, list[str]] = {}
        self.kind: str | None = None
        self.logit_loss: losses.Loss | None = None
        self._plain: list[tuple[Update, bool]] = []
        self._on_logits: list[tuple[Update | None, bool]] = []

    def __getstate__(self) -> dict[str, Any]:
        """A copy binds its metrics anew."""
        return {**self.__dict__, "metrics": None, "requested": list(self.metrics or self.requested), "_plain": [], "_on_logits": []}

    def accept_logits(self, kind: str) -> bool:
        """Note what stands behind the logits that the training view offers; return whether the loss has a form for them."""
        self.logit_loss = self.loss.on_logits(kind) if self.loss is not None else None
        self.kind = kind if self.logit_loss is not None else None
        return self.kind is not None

    def resolve(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Decide what `'accuracy'` means, and which form each metric takes."""
        self.metrics, self.seen = [], [list(y_true.shape), list(y_pred.shape)]
        for name, metric, is_weighted in self.requested:
            if isinstance(metric, str):
                metric = choose(metric, self.loss, y_true.shape, y_pred.shape)
            elif is_weighted and type(metric) is MeanMetricWrapper and metric.fn is getattr(self.loss, "function", None):
                metric = LossMetric(self.loss, name)
            self.metrics.append((name, metric, is_weighted))
        self._plain = [(_update_of(metric, is_weighted), is_weighted) for _, metric, is_weighted in self.metrics]
        self._on_logits = [
            (_update_of(metric, is_weighted, self.kind) if self.kind else None, is_weighted) for _, metric, is_weighted in self.metrics
        ]

    def value(self, prediction: Any, mask: Any, y_true: Any, weight: Any, is_logits: bool) -> torch.Tensor:
        """Return the loss of a batch."""
        loss: Any = self.logit_loss if is_logits and self.kind else self.loss
        value = loss.compute(*loss.prepare(y_true, prediction), weight, mask)
        return value if value.ndim == 0 else value.mean()  # type: ignore[no-any-return]

    def named_metrics(self) -> Iterator[tuple[str, Any, str | None]]:
        """The names of the figures in the logs, the metric of each, and which of its parts it is where it has several."""
        for label, metric, _ in self.metrics or self.requested:
            parts = self._parts.get(label) or (list(metric.parts) if isinstance(metric, TorchMetric) else [])
            taken = {name for name, _, _ in self.requested}
            for part in parts:
                yield (f"{label}_{part}" if self.prefix + part in taken else self.prefix + part), metric, part
            if not parts:
                yield label, metric, None

    def results(self) -> dict[str, Callable[[], Any]]:
        """Return for each figure the function that computes it."""
        for label, metric, _ in self.metrics or []:
            if label not in self._parts and not _gives_a_tensor(metric):
                result = metric.result()
                self._parts[label] = list(result) if isinstance(result, Mapping) else []
        named = self.named_metrics() if self.metrics else ()
        return {name: metric.result if part is None else partial(_part_of, metric, part) for name, metric, part in named}

    def update(self, prediction: torch.Tensor, mask: Any, y_true: Any, weight: Any, is_logits: bool) -> None:
        """Let the metrics take in a batch."""
        if self.metrics is None:
            self.resolve(y_true, prediction)
        probabilities = None
        forms = self._on_logits if is_logits and self.kind else self._plain
        for (update, is_weighted), (plain, _) in zip(forms, self._plain, strict=True):
            used = weight if is_weighted else None
            combined = used if mask is None else combine(used, mask, scaled=getattr(plain, "is_like_a_loss", False))
            if update is not None:
                update(y_true, prediction, combined)
                continue
            if probabilities is None:
                probabilities = torch.softmax(prediction, -1) if self.kind == "softmax" else torch.sigmoid(prediction)
            plain(y_true, probabilities, combined)


def _gives_a_tensor(metric: Any) -> bool:
    """Whether it is known that a metric's result is no dict of figures: for this library's own."""
    return type(metric).__module__.startswith("torchkeras_fn.") and not isinstance(metric, TorchMetric)


def _part_of(metric: Any, part: str) -> Any:
    return metric.result()[part]


def metric_of(identifier: Any, is_weighted: bool) -> Any:
    """The metric, or a name that is left open until the data is seen. Raises `ValueError` for one that takes no weights."""
    metric = identifier if is_open(identifier) else get_metric(identifier)
    if is_weighted and isinstance(metric, TorchMetric):
        raise ValueError(f"weighted_metrics: {metric.name!r} is a metric of torchmetrics, which takes no weights. Put it in `metrics`.")
    return metric


def _update_of(metric: Any, is_weighted: bool, kind: str | None = None) -> Any:
    """The function that takes a batch in, as predictions or as logits; `None` for a metric that has no form for logits.

    A weighted metric that is a loss is averaged as the loss is, so that the two agree.
    """
    if is_weighted and isinstance(metric, LossMetric) and metric.like_the_loss:
        return metric.averaged_as_the_loss(kind)
    if kind is None:
        return metric.update_state
    form = getattr(metric, "on_logits", None)
    return form(kind) if form is not None else None
