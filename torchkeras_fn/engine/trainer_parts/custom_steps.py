"""`CustomSteps`: the parts of a step that a user may write, its loss and its figures, and batches for whole steps of the user's."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from numbers import Real
from typing import Any, ClassVar

import torch

from torchkeras_fn.engine.basics.untouched import state_as_before
from torchkeras_fn.engine.batches.unpacking import AsItCame, InTuple
from torchkeras_fn.engine.drawing.copying import called_on_copies
from torchkeras_fn.engine.graphs.graph import graph_of
from torchkeras_fn.engine.lowered.training_outputs import TrainingOutputs
from torchkeras_fn.engine.trainer_parts.telling import Telling

_PACKAGE = __name__.partition(".")[0] + "."
"""What `origin.is_ours` looks for, asked here without its frame: for each call of `train_on_batch`."""


class CustomSteps(Telling):
    """The part of a `Trainer` whose methods a user overrides, or calls in a step of the user's own."""

    _has_own_parts: ClassVar[bool] = False
    """Whether `compute_loss` or `compute_metrics` is a user's, which the steps then call."""
    _tracked_loss: torch.Tensor | None = None
    """The loss of a step whose figures a `compute_metrics` of the user's is about to take in."""
    _spares_data: frozenset[Any] = frozenset()
    """What was seen to write nothing to its batch: the forward pass in training (`True`) or not (`False`), and a user's steps by name."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note which parts are a user's, so that a step need not ask."""
        super().__init_subclass__(**kwargs)
        cls._has_own_parts = cls.compute_loss is not CustomSteps.compute_loss or cls.compute_metrics is not CustomSteps.compute_metrics

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> torch.Tensor:
        """Return the compiled loss of predictions that `self(x)` returned.

        An overriding method is called by `train_step` and `test_step`, and may leave out `training`.
        """
        objective, of_weights = self._compiled("compute_loss"), self._weight_terms()
        outputs = self._with_terms(y_pred, of_weights)
        self.__dict__["_of_weights"] = [torch.as_tensor(term).detach() for term in of_weights]
        loss = objective.loss(outputs, y, sample_weight, is_logits=False)
        objective.decide_metrics(outputs, y)  # a step of the user's may look for them now
        return loss

    def compute_metrics(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Mapping[str, Any]:
        """Let the compiled metrics take in predictions that `self(x)` returned, and return the figures so far.

        An overriding method is called by `train_step` and `test_step`, and returns what is logged.
        """
        objective = self._compiled("compute_metrics")
        of_weights = self.__dict__.pop("_of_weights", None)  # as `compute_loss` saw them: a step may have been taken since then
        outputs, loss = self._with_terms(y_pred, of_weights), self._tracked_loss
        with torch.no_grad():
            if loss is None and objective.targets:
                loss = objective.loss(outputs, y, sample_weight, is_logits=False)
            objective.track(loss, outputs, y, sample_weight, is_logits=False)
        return dict(objective.running)

    def _run_on_copies(self, run: Callable[[Any], Any], data: Any, key: Any) -> Any:
        """Run what may write to its data, as `x /= 255` does: that is the user's own, where rows are not shuffled."""
        writes: dict[Any, bool] = {}
        result = called_on_copies(run, (data,), {}, writes, key)
        if writes.get(key) is False:
            self.__dict__["_spares_data"] = self._spares_data | {key}  # past the `__setattr__` of modules, which is slow
        return result

    def _infer_outputs(self, arrays: Any) -> Any:
        """Run a forward pass of the user's on no data, which leaves nothing behind: neither a count of calls nor a mean over no rows."""
        module = self._as_module()
        with nullcontext() if graph_of(module) is not None else state_as_before(module):
            return super()._infer_outputs(arrays)

    def _weight_terms(self) -> list[torch.Tensor]:
        """The loss terms that depend on the weights alone."""
        return []

    def _added_terms(self) -> list[torch.Tensor]:
        """The loss terms that layers added when they last ran, as in the call of the model in a step of the user's."""
        return []

    def _added_figures(self) -> list[tuple[str, torch.Tensor]]:
        """The figures that layers added in the last calls of models, by their names."""
        return []

    def _call_that_adds_terms(self) -> Callable[[Any], Any] | None:
        """What runs the model and leaves the terms that layers add; `None` where `_call` does, or no layer adds any."""
        return None

    def _forget_added_terms(self) -> None:
        """Begin a step in which layers add terms anew."""

    def _with_terms(self, predictions: Any, of_weights: Sequence[torch.Tensor] | None) -> TrainingOutputs:
        terms = *self._added_terms(), *(self._weight_terms() if of_weights is None else of_weights)
        return self._plain_outputs(predictions)._replace(losses=terms, metrics=self._added_figures())

    def _of_own_parts(self, x: Any, y: Any, sample_weight: Any, training: bool) -> tuple[torch.Tensor, Mapping[str, Any]]:
        """Return the loss and the figures of a step some part of which is the user's."""
        self._forget_added_terms()  # of a call by hand, whose history may be gone
        call = self._call_that_adds_terms() or self._call
        y_pred = call(x) if training in self._spares_data else self._run_on_copies(call, x, training)
        mode = {"training": training} if _first_and_all(type(self).compute_loss)[1] >= {"training"} else {}
        loss = _scalar(self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **mode))
        self.__dict__["_tracked_loss"] = loss.detach()
        try:
            with torch.no_grad():
                return loss, figures_of(self.compute_metrics(x, y, y_pred, sample_weight), "compute_metrics")
        finally:
            del self.__dict__["_tracked_loss"]
            self.__dict__.pop("_of_weights", None)

    def _nested_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        """Return a batch as a step of the user's sees it: nested as the model's inputs and outputs are."""
        return batch

    def _as_given(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a step that takes `(x, y, sample_weight)`. One whose argument is called `data`, as in Keras, gets what Keras gives it.

        What came otherwise than in arrays is passed on as it came. What a step of the user's writes to its batch is not seen by others.
        """
        if str(step.__module__).startswith(_PACKAGE):  # this library's own
            return step
        in_keras = _first_and_all(getattr(step, "__func__", step), is_bound=not hasattr(step, "__func__"))[0] == "data"
        key = getattr(step, "__qualname__", step)
        is_predicting = step == self.predict_step  # type: ignore[attr-defined]

        def run(given: Any) -> Any:
            try:
                result = step(given)
            except (ValueError, TypeError) as error:
                if not in_keras and _mistakes_three_parts(error):
                    raise type(error)(_THREE_PARTS.format(name=getattr(step, "__name__", "The step"))) from error
                raise
            self.__dict__.pop("_of_weights", None)
            return result if is_predicting or type(result) is dict else figures_of(result, getattr(step, "__name__", "The step"))

        def take(batch: Any) -> Any:
            whole = batch[0]
            if type(whole) is AsItCame:
                given = whole.data if in_keras else whole.batch
            else:
                given = self._nested_batch(tuple(batch))
                if in_keras:
                    given = given[:1] if type(batch) is InTuple else _as_in_keras(*given)
            return run(given) if key in self._spares_data else self._run_on_copies(run, given, key)

        return take

    def _takes_what_comes(self, step: str) -> bool:
        """Whether a step is the user's, which may take batches that are not made of arrays."""
        return not str(getattr(self, step).__module__).startswith(_PACKAGE)


def figures_of(result: Any, source: str) -> Any:
    """Return what a step returned: a dict of figures, or nothing. Raises `TypeError`, naming the `source`, for anything else.

    >>> figures_of(0.5, "train_step")
    Traceback (most recent call last):
        ...
    TypeError: train_step returns a dict of names and figures, such as {'loss': loss}, or None; it returned 0.5 of type float.
    """
    if result is None or isinstance(result, Mapping):
        return result
    came = f"{str(result)[:60]} of type {type(result).__name__}"
    raise TypeError(f"{source} returns a dict of names and figures, such as {{'loss': loss}}, or None; it returned {came}.")


_THREE_PARTS = (
    "{name}(batch) is given three parts, which it takes as x, y, sample_weight = batch. A step whose argument is called data is given "
    "what there is of them, as in Keras: (x, y), or x alone, as where a loader gives dicts."
)


def _mistakes_three_parts(error: Exception) -> bool:
    """Whether a step itself, and nothing that it calls, failed as it took a tuple of three parts for a pair or a dict."""
    inside = error.__traceback__.tb_next if error.__traceback__ is not None else None
    mistakes = ("too many values to unpack (expected 2", "tuple indices must be integers or slices, not str")
    return inside is not None and inside.tb_next is None and str(error).startswith(mistakes)


def _scalar(value: Any) -> torch.Tensor:
    """What a `compute_loss` of the user's returned. Raises `TypeError` for what is no number, `ValueError` for several."""
    if not isinstance(value, (torch.Tensor, Real)):
        raise TypeError(f"compute_loss returns a tensor, the loss of the batch; it returned {value!r} of type {type(value).__name__}.")
    loss: torch.Tensor = torch.as_tensor(value)
    if loss.numel() != 1:
        raise ValueError(f"compute_loss returns one number for a batch; it returned a tensor of shape {tuple(loss.shape)}: take its mean.")
    return loss


@functools.lru_cache(maxsize=64)
def _first_and_all(function: Callable[..., Any], is_bound: bool = False) -> tuple[str, frozenset[str]]:
    """The name of a method's first argument after the object itself, and those of all that it takes."""
    names = list(inspect.signature(function).parameters)
    names = names if is_bound else names[1:]
    return names[0] if names else "", frozenset(names)


def _as_in_keras(x: Any, y: Any, sample_weight: Any) -> Any:
    """A batch without what there is not: `x`, in a tuple if it is a list, `(x, y)` or `(x, y, sample_weight)`."""
    if isinstance(sample_weight, list) and not any(weight is not None for weight in sample_weight):
        sample_weight = None
    if sample_weight is None and y is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)
