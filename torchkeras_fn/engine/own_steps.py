"""`OwnSteps`: the parts of a step that a user may write, its loss and its figures, and batches for whole steps of the user's."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from torchkeras_fn.engine.lowering import TrainingOutputs
from torchkeras_fn.engine.telling import Telling


class OwnSteps(Telling):
    """The part of a `Trainer` whose methods a user overrides, or calls in a step of the user's own."""

    _has_own_parts: ClassVar[bool] = False
    """Whether `compute_loss` or `compute_metrics` is a user's, which the steps then call."""
    _tracked_loss: torch.Tensor | None = None
    """The loss of a step whose figures a `compute_metrics` of the user's is about to take in."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note which parts are a user's, so that a step need not ask."""
        super().__init_subclass__(**kwargs)
        cls._has_own_parts = cls.compute_loss is not OwnSteps.compute_loss or cls.compute_metrics is not OwnSteps.compute_metrics

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> torch.Tensor:
        """Return the compiled loss of predictions that `self(x)` returned.

        An overriding method is called by `train_step` and `test_step`, and may leave out `training`.
        """
        return self._compiled("compute_loss").loss(self._with_terms(y_pred), y, sample_weight, is_logits=False)

    def compute_metrics(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Mapping[str, Any]:
        """Let the compiled metrics take in predictions that `self(x)` returned, and return the figures so far.

        An overriding method is called by `train_step` and `test_step`, and returns what is logged.
        """
        objective = self._compiled("compute_metrics")
        outputs, loss = self._with_terms(y_pred), self._tracked_loss
        with torch.no_grad():
            if loss is None and objective.targets:
                loss = objective.loss(outputs, y, sample_weight, is_logits=False)
            objective.track(loss, outputs, y, sample_weight, is_logits=False)
        return dict(objective.running)

    def _weight_terms(self) -> list[torch.Tensor]:
        """The loss terms that depend on the weights alone."""
        return []

    def _with_terms(self, predictions: Any) -> TrainingOutputs:
        return self._plain_outputs(predictions)._replace(losses=tuple(self._weight_terms()))

    def _of_own_parts(self, x: Any, y: Any, sample_weight: Any, training: bool) -> tuple[torch.Tensor, Mapping[str, Any]]:
        """Return the loss and the figures of a step some part of which is the user's."""
        y_pred = self._call(x)
        mode = {"training": training} if _first_and_all(type(self).compute_loss)[1] >= {"training"} else {}
        loss = torch.as_tensor(self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **mode))
        self.__dict__["_tracked_loss"] = loss.detach()
        try:
            with torch.no_grad():
                return loss, self.compute_metrics(x, y, y_pred, sample_weight)
        finally:
            del self.__dict__["_tracked_loss"]

    def _as_given(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a step that takes `(x, y, sample_weight)`. One whose argument is called `data`, as in Keras, gets what Keras gives it."""
        if _first_and_all(getattr(step, "__func__", step))[0] != "data":
            return step
        return lambda batch: step(_as_in_keras(*batch))


@functools.lru_cache(maxsize=64)
def _first_and_all(function: Callable[..., Any]) -> tuple[str, frozenset[str]]:
    """The name of a function's first argument after `self`, and those of all that it takes."""
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    return names[0] if names else "", frozenset(names)


def _as_in_keras(x: Any, y: Any, sample_weight: Any) -> tuple[Any, ...]:
    """A batch without what there is not: `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
    if isinstance(sample_weight, list) and not any(weight is not None for weight in sample_weight):
        sample_weight = None
    return (x, y, sample_weight) if sample_weight is not None else (x,) if y is None else (x, y)
