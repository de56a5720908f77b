"""`CompiledSteps`: training steps in which forward, loss, gradients and metrics are one compiled function for each kind of batch."""

import operator
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from torchkeras_fn.engine.basics.random_state import device_states, random_state, set_device_states, set_random_state
from torchkeras_fn.engine.steps.marks import marks_of, parts_in
from torchkeras_fn.engine.steps.replay import compiled
from torchkeras_fn.engine.steps.tracing import Returned, Traced, add_counts, reason_of

_MOST = 16
"""So many steps are compiled for a model, for kinds of batches and changes of the model: more would cost more than they save."""

_MOST_SEEN = 256

_ONE_AT_A_TIME = threading.RLock()
"""Models may be trained in several threads, but torch notes for all of them that it traces, and so do filters of warnings."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class CompiledSteps:
    """Takes the training steps of a `trainer`: compiled, where batches of a kind come again; else by its `train_step`.

    The first batch of a kind is not compiled. The kind that first comes again is; others only if they come twice in a row,
    so that a short last batch is not. The optimizer's step is its own. What changes a step (other weights, the mode of a
    layer, numbers in the attributes of layers, losses and regularizers, other metrics) is noticed at the beginning of an epoch. Where
    compiling is not possible, one warning says why.

    >>> CompiledSteps().state_dict()
    {'due': [], 'seen': [], 'last': 'None'}
    """

    def __init__(self, trainer: Any = None):
        self.trainer = trainer
        self._ready: dict[Any, CompiledStep] = {}
        self._in_doubt: dict[Any, CompiledStep] = {}
        self._due: set[str] = set()
        """The kinds that are to be compiled."""
        self._seen: set[str] = set()
        """The kinds that came, as long as none of them came again."""
        self._last: Any = None
        self._marks: tuple[list[Any], list[Any]] = [], []
        self._made = 0
        self._warned = self._given_up = False

    def __reduce__(self) -> Any:
        """A copy belongs to no trainer; compiled functions hold the weights of this one."""
        return CompiledSteps, ()

    def state_dict(self) -> dict[str, Any]:
        """Return which kinds of batches came so far, on which it depends what is compiled next."""
        return {"due": sorted(self._due), "seen": sorted(self._seen), "last": str(self._last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._due, self._seen, self._last = set(state["due"]), set(state["seen"]), state["last"]

    # ------------------------------------------------------------------ what the trainer calls

    def begin(self) -> Callable[[Any], Any]:
        """Return what takes the steps of an epoch that begins now, within a session of training."""
        as_it_is: Callable[[Any], Any] = self.trainer._as_given(self.trainer.train_step)
        if self._given_up:
            return as_it_is
        parts = parts_in(self.trainer._as_module())
        obstacle = _obstacle(self.trainer, parts)
        if obstacle is not None:
            self._warn(obstacle)
            return as_it_is
        self._notice_changes(parts)
        return self

    def __call__(self, batch: Any) -> Any:
        """Take a step with a batch `(x, y, sample_weight)`, and return the figures so far, as `train_step` does."""
        noted: list[Any] = []
        leaves: list[torch.Tensor] = []
        for part in batch:
            _take_apart(part, noted, leaves)
        kind = tuple(noted)
        step = self._ready.get(kind) or self._step_for(kind, batch, leaves)
        self._last = kind
        if step is None:
            return self.trainer.train_step(batch)
        step(leaves)
        return self.trainer.objective.running

    # ------------------------------------------------------------------ which batches, and whether

    def _step_for(self, kind: Any, batch: Any, leaves: list[torch.Tensor]) -> "CompiledStep | None":
        """Compile the step for batches of a kind, if it is time, and possible."""
        if self._given_up or not self._is_due(str(kind)):
            return None
        before = self._in_doubt.pop(kind, None)
        if before is None and self._made >= _MOST:
            self._warn(f"{_MOST} steps were compiled, and batches of other shapes, or after changes of the model, run as they are")
            return None
        try:
            with _ONE_AT_A_TIME, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's compiler warns of what does not matter here
                if not self._ready:
                    # The first step may have made what was not there when the epoch began.
                    self._marks = marks_of(self.trainer, parts_in(self.trainer._as_module()))
                step = self._ready[kind] = CompiledStep.of(self.trainer, batch, leaves, before)
        except Exception as error:
            self._given_up = True
            self._warn(reason_of(error))
            return None
        self._made += step is not before
        return step

    def _is_due(self, name: str) -> bool:
        if name in self._due:
            return True
        if name == str(self._last) or (name in self._seen and not self._due):
            self._due.add(name)
            self._seen.clear()
            return True
        if not self._due and len(self._seen) < _MOST_SEEN:
            self._seen.add(name)
        return False

    def _notice_changes(self, parts: Sequence[nn.Module]) -> None:
        """Use nothing that was compiled, if the model is not what it was then; it may be used again where the graph turns out the same."""
        marks, before = marks_of(self.trainer, parts), self._marks
        if marks[1] == before[1] and len(marks[0]) == len(before[0]) and all(map(operator.is_, marks[0], before[0])):
            return
        self._marks = marks
        self._in_doubt |= self._ready
        self._ready.clear()

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            message = f"jit_compile=True, but training steps run as they are, not compiled: {reason}."
            warnings.warn(message, UserWarning, stacklevel=_levels_to_user())


class CompiledStep:
    """The training step of a `trainer` for batches like this one, up to its optimizer's step, as one compiled function.

    Raises whatever stands in the way. Making it changes nothing: neither tensors nor random states.
    """

    def __init__(self, trainer: Any, leaves: list[torch.Tensor], traced: Traced):
        self.trainer = trainer
        self._source = _source_of(traced)
        self._draws = [draw for _, draw in traced.draws]
        self._parameters, self._counts, self._updates = traced.parameters, traced.counts, traced.updates
        self._learns, self._optimized = traced.learns, traced.optimized if traced.learns else []
        self._kept = [tensor.detach() for tensor in traced.kept]
        inputs = [*leaves, *(value for value, _ in traced.draws), *self._kept]
        self._run = compiled(traced.graph, inputs, len(leaves) + len(self._draws))
        self._try(inputs, traced)

    @classmethod
    def of(cls, trainer: Any, batch: Any, leaves: list[torch.Tensor], before: "CompiledStep | None" = None) -> "CompiledStep":
        """Return the step for a batch that consists of these leaves: the one from `before`, if it computes the same."""
        if any(leaf.requires_grad for leaf in leaves):
            raise ValueError("a batch asks for gradients")
        traced = Traced(trainer, leaves, lambda given: _put_together(batch, iter(given)))
        return before if before is not None and before._source == _source_of(traced) else cls(trainer, leaves, traced)

    def _try(self, inputs: list[torch.Tensor], traced: Traced) -> None:
        """Run once, and put everything back."""
        weights, first = {id(parameter) for parameter in traced.optimized}, len(inputs) - len(self._kept)
        own = [*[True] * first, *(id(tensor) in weights for tensor in traced.kept)]  # changed only by what declares that it writes
        changed = [(held, held.clone()) for held, alone, written in zip(inputs, own, traced.written, strict=True) if written or not alone]
        states, devices = random_state(), device_states()
        try:
            count = len(self._run(list(inputs)))
            if count != traced.returns:
                raise RuntimeError(f"the compiler returned {count} tensors for {traced.returns}")
        finally:
            for held, values in changed:
                held.copy_(values)
            set_random_state(states)
            set_device_states(devices)

    def __call__(self, leaves: list[torch.Tensor]) -> None:
        """Take the step."""
        for parameter in self._optimized:
            parameter.grad = None  # whose memory may serve for the new one
        outputs = self._run([*leaves, *[draw() for draw in self._draws], *self._kept])
        for parameter, gradient in zip(self._parameters, outputs):  # noqa: B905 - what metrics take in follows
            parameter.grad = gradient
        add_counts(self._counts)
        for update, arguments in self._updates:
            update(*[outputs[part].clone() if isinstance(part, Returned) else part for part in arguments])
        if self._learns:
            self.trainer.optimizer.step()


def _levels_to_user() -> int:
    """How far up from the function that calls this one the first line is that is not this library's: it called `fit`, or a step."""
    home, level, frame = __name__.split(".")[0], 0, sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).split(".")[0] == home:
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level + 1


def _source_of(traced: Traced) -> tuple[Any, ...]:
    """What a compiled step is made of."""
    tensors = [(tensor.data_ptr(), tensor.dtype, tensor.stride()) for tensor in traced.kept]
    counts = [(id(attributes), name, value) for attributes, name, value in traced.counts]
    updates = [(id(getattr(update, "__self__", update)), arguments) for update, arguments in traced.updates]
    objects = [*traced.parameters, *traced.optimized, *(draw for _, draw in traced.draws)]
    return traced.graph.code, tensors, counts, updates, traced.learns, list(map(id, objects))


def _take_apart(part: Any, kind: list[Any], leaves: list[torch.Tensor]) -> None:
    """Note the tensors of a part of a batch, and what a compiled function depends on."""
    if isinstance(part, torch.Tensor):
        leaves.append(part)
        kind += (part.shape, part.dtype, part.stride() if part.layout is torch.strided else part.layout, part.requires_grad)
    elif isinstance(part, Mapping):
        kind.append(tuple(part))
        for value in part.values():
            _take_apart(value, kind, leaves)
    elif isinstance(part, (list, tuple)):
        kind.append(len(part))
        for value in part:
            _take_apart(value, kind, leaves)
    else:
        kind.append(part if part is None else type(part))


def _put_together(part: Any, leaves: Iterator[Any]) -> Any:
    """The part of a batch again, with other tensors in the place of its own."""
    if isinstance(part, torch.Tensor):
        return next(leaves)
    if isinstance(part, Mapping):
        return {name: _put_together(value, leaves) for name, value in part.items()}
    if isinstance(part, (list, tuple)):
        return type(part)([_put_together(value, leaves) for value in part])
    return part



def _obstacle(trainer: Any, parts: Sequence[nn.Module]) -> str | None:
    """Why the steps cannot be compiled now; `None` where nothing is known to stand in the way."""
    if trainer._has_own_parts:
        return "compute_loss or compute_metrics is overridden"
    if trainer._overrides_train_step() or "train_step" in vars(trainer):
        return "train_step is overridden"
    if trainer._team is not None:
        return "several processes train the model together"
    view = getattr(trainer, "_views", {}).get("training")
    if any(getattr(torch_module, f"_global{hooks}") for hooks in _HOOKS) or (view is not None and view.is_watched()):
        return "there are hooks on its modules, or modules were replaced"
    for part in parts:
        if part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks:
            return f"there are hooks on {type(part).__name__}"
        for parameter in part._parameters.values():
            if parameter is not None and (parameter._backward_hooks or parameter._post_accumulate_grad_hooks):  # type: ignore[attr-defined]
                return f"there are hooks on a parameter of {type(part).__name__}"
    return None
