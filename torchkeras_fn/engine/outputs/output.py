"""`Output`: the loss and the metrics of one output of a model, in plain form and in the form for logits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from typing import Any

import torch

from torchkeras_fn import losses
from torchkeras_fn.alignment import align, combine
from torchkeras_fn.engine.basics.recipes import Recipes
from torchkeras_fn.losses.base import for_elements
from torchkeras_fn.metrics import LossMetric, Mean, MeanMetricWrapper, TorchMetric, choose, is_open
from torchkeras_fn.metrics import get as get_metric
from torchkeras_fn.origin import is_ours

Update = Callable[..., None]


class Output:
    """One output: its loss, the weight of that loss, and its metrics, in plain form and in the form for logits."""

    def __init__(self, name: str, loss: Any, loss_weight: Any, figures: Sequence[tuple[str, Any, bool]], prefix: str = ""):
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
        self._forget_recipes()

    def __getstate__(self) -> dict[str, Any]:
        """A copy binds its metrics anew."""
        state = {name: value for name, value in self.__dict__.items() if not name.endswith("_recipes")}
        return {**state, "metrics": None, "requested": list(self.metrics or self.requested), "_plain": [], "_on_logits": [], "noted": ()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Decide anew how to compute."""
        self.__dict__.update(state)
        self._forget_recipes()

    def _forget_recipes(self) -> None:
        """Decide anew, for predictions (0) and for logits (1), how to compute the loss and to take in the metrics; and the figures."""
        self._figure_recipes: dict[str, Callable[[], Any]] | None = None
        self._loss_recipes = [Recipes(partial(self._loss_recipe, is_logits)) for is_logits in (False, True)]
        self._metric_recipes = [Recipes(partial(self._metrics_recipe, is_logits)) for is_logits in (False, True)]
        found = [self.loss, *(metric.loss for _, metric, _ in self.metrics or () if isinstance(metric, LossMetric))]
        self.noted: Sequence[tuple[Mapping[str, Any], list[Any]]]
        """The attributes of the losses, and what they were when it was decided how to compute them."""
        self.noted = [(loss.__dict__, list(loss.__dict__.values())) for loss in found if loss is not None]

    def decide_anew(self) -> None:
        """Compute with the losses as they are now, an attribute of which was changed, as callbacks change a number of it."""
        if self.kind is not None:
            self.logit_loss = self.loss.on_logits(self.kind) or self.logit_loss
        if self.metrics is None:
            self._forget_recipes()
        else:
            self._choose_forms()

    def _loss_recipe(self, is_logits: bool, y_true: torch.Tensor, y_pred: torch.Tensor) -> Any:
        loss = self.logit_loss if is_logits and self.kind else self.loss
        return loss.recipe(y_true, y_pred) if loss is not None else None

    def _metrics_recipe(self, is_logits: bool, y_true: torch.Tensor, y_pred: torch.Tensor) -> list[Any]:
        """For each metric the short way to take in a batch, or `None`."""
        kind = self.kind if is_logits else None
        metrics = [metric for _, metric, _ in self.metrics or ()]
        return [metric.recipe(y_true, y_pred, kind) if isinstance(metric, MeanMetricWrapper) else None for metric in metrics]

    def accept_logits(self, kind: str) -> bool:
        """Note what stands behind the logits that the training view offers; return whether the loss has a form for them."""
        self.logit_loss = self.loss.on_logits(kind) if self.loss is not None else None
        self.kind = kind if self.logit_loss is not None else None
        self._forget_recipes()
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
        self._choose_forms()

    def _choose_forms(self) -> None:
        metrics = self.metrics or []
        self._plain = [(_update_of(metric, is_weighted), is_weighted) for _, metric, is_weighted in metrics]
        self._on_logits = [
            (_update_of(metric, is_weighted, self.kind) if self.kind else None, is_weighted) for _, metric, is_weighted in metrics
        ]
        self._forget_recipes()

    def value(self, prediction: Any, mask: Any, y_true: Any, weight: Any, is_logits: bool) -> torch.Tensor:
        """Return the loss of a batch."""
        if weight is None and mask is None:
            recipes = self._loss_recipes[is_logits]
            recipe = recipes.get((y_true.shape, y_true.dtype, prediction.shape, prediction.dtype)) or recipes.of(y_true, prediction)
            if recipe is not None:
                try:
                    return recipe(prediction, y_true)  # type: ignore[no-any-return]
                except (IndexError, RuntimeError):
                    recipe = None  # what is wrong with the targets is said below
        loss: Any = self.logit_loss if is_logits and self.kind else self.loss
        value = loss.compute(*loss.prepare(y_true, prediction), weight, mask)
        return value if value.ndim == 0 else value.mean()  # type: ignore[no-any-return]

    @contextmanager
    def handing_out(self, chosen: Callable[[Any], bool], take: Callable[[Update, Sequence[Any]], None]) -> Iterator[None]:
        """Within the block, let the chosen metrics take in nothing: `take` is given their update and its arguments instead.

        What was decided for tensors of certain shapes is forgotten before and after: those of the block may hold no data.
        """
        kept = {name: getattr(self, name) for name in ("metrics", "_plain", "_on_logits")}

        def handed(forms: Sequence[Any]) -> list[Any]:
            given = zip(forms, self.metrics or (), strict=True)
            return [(_Handed(update, take) if update and chosen(metric) else update, own) for (update, own), (_, metric, _) in given]

        self._plain, self._on_logits = handed(self._plain), handed(self._on_logits)
        if self.metrics is not None:
            self.metrics = [(name, None if chosen(metric) else metric, is_weighted) for name, metric, is_weighted in self.metrics]
        self._forget_recipes()
        try:
            yield
        finally:
            self.__dict__.update(kept)
            self._forget_recipes()

    def named_metrics(self) -> Iterator[tuple[str, Any, str | None]]:
        """The names of the figures in the logs, the metric of each, and which of its parts it is where it has several."""
        for label, metric, _ in self.metrics or self.requested:
            parts = self._parts.get(label) or (list(metric.parts) if isinstance(metric, TorchMetric) else [])
            if not parts:
                yield label, metric, None
                continue
            taken = {name for name, _, _ in self.requested}
            for part in parts:
                yield (f"{label}_{part}" if self.prefix + part in taken else self.prefix + part), metric, part

    def results(self) -> dict[str, Callable[[], Any]]:
        """Return for each figure the function that computes it."""
        if self._figure_recipes is not None:
            return self._figure_recipes
        for label, metric, _ in self.metrics or []:
            if label not in self._parts and not _gives_a_tensor(metric):
                result = metric.result()
                self._parts[label] = list(result) if isinstance(result, Mapping) else []
        named = self.named_metrics() if self.metrics else ()
        found = {name: metric.result if part is None else partial(_part_of, metric, part) for name, metric, part in named}
        self._figure_recipes = found if self.metrics is not None else None
        return found

    def update(self, prediction: torch.Tensor, mask: Any, y_true: Any, weight: Any, is_logits: bool) -> None:
        """Let the metrics take in a batch."""
        if self.metrics is None:
            self.resolve(y_true, prediction)
        probabilities = None
        forms = self._on_logits if is_logits and self.kind else self._plain
        recipes: Any = repeat(None)
        if isinstance(mask, (list, tuple)):
            mask = mask[0] if mask else None  # as `combine` takes it
        if mask is None:
            known = self._metric_recipes[is_logits]
            recipes = known.get((y_true.shape, y_true.dtype, prediction.shape, prediction.dtype)) or known.of(y_true, prediction)
        for (update, is_weighted), (plain, _), recipe in zip(forms, self._plain, recipes):  # noqa: B905
            used = weight if is_weighted else None
            if recipe is not None and used is None:
                recipe(y_true, prediction)
                continue
            if mask is None:
                weights: tuple[Any, ...] = (used,)
            else:
                weights = (used, mask) if getattr(plain, "is_like_a_loss", False) else (combine(used, mask),)
            if update is not None:
                update(y_true, prediction, *weights)
                continue
            if probabilities is None:
                probabilities = torch.softmax(prediction, -1) if self.kind == "softmax" else torch.sigmoid(prediction)
            plain(y_true, probabilities, *weights)


class _Handed:
    """Stands for an update of a metric, and hands its arguments out."""

    def __init__(self, update: Update, take: Callable[[Update, Sequence[Any]], None]):
        self.update, self.take = update, take
        self.is_like_a_loss = getattr(update, "is_like_a_loss", False)

    def __call__(self, y_true: Any, y_pred: Any, *weights: Any) -> None:
        self.take(self.update, (y_true, y_pred, *weights))


class _ByElement:
    """An update of a loss as a metric. Where each element has a weight, as pixels may, it counts by itself, as if alone on a last axis."""

    def __init__(self, update: Update):
        self.update = update
        self.is_like_a_loss = getattr(update, "is_like_a_loss", False)

    def __call__(self, y_true: Any, y_pred: Any, weight: Any, *mask: Any) -> None:
        if for_elements(weight, y_pred):
            y_true, y_pred = align(y_true, y_pred).unsqueeze(-1), y_pred.unsqueeze(-1)
        self.update(y_true, y_pred, weight, *mask)


def _gives_a_tensor(metric: Any) -> bool:
    """Whether it is known that a metric's result is no dict of figures: for this library's own."""
    return is_ours(type(metric)) and not isinstance(metric, TorchMetric)


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
        update = metric.averaged_as_the_loss(kind)
    elif kind is None:
        update = metric.update_state
    else:
        form = getattr(metric, "on_logits", None)
        update = form(kind) if form is not None else None
    if update is not None and is_weighted and isinstance(metric, LossMetric) and metric.loss.has_elements:
        return _ByElement(update)
    return update
