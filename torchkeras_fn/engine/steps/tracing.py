"""`Traced`: a training step as a graph of torch's operations: forward, loss, metrics and gradients, for batches of one kind.

The step that runs in Python is run once on tensors without data, and what it asks of torch is noted. All that it reads or
changes beside the batch (weights, running statistics, what metrics gather) becomes an input of the graph, which changes it
in place. Tracing itself changes nothing: neither tensors nor attributes nor random states.
"""

import gc
import operator
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from torchkeras_fn import origin
from torchkeras_fn.engine.basics.nested import map_only
from torchkeras_fn.engine.basics.random_state import device_states, random_state, set_device_states, set_random_state
from torchkeras_fn.engine.basics.untouched import Untouched, entries_of, holders_of, put_back, written_by
from torchkeras_fn.metrics import Mean, MeanMetricWrapper, Metric, TorchMetric
from torchkeras_fn.metrics.state import State
from torchkeras_fn.origin import is_ours

_SET_DATA = torch.Tensor.data.__set__  # type: ignore[attr-defined]
_MOST_OPERATIONS = 5000
"""A graph of more is a loop over many steps written out, and would take minutes to compile."""


class Untraceable(Exception):
    """A step cannot become a graph; the message says why.

    >>> raise Untraceable("a module has hooks")
    Traceback (most recent call last):
        ...
    torchkeras_fn.engine.steps.tracing.Untraceable: a module has hooks
    """


class Traced:
    """The step of a `trainer` for batches like the one made of these `leaves`, which `rebuild` makes a batch of.

    `graph` takes the leaves, the tensors in `draws`, which are drawn anew for each step, and those in `kept`. It `returns` so
    many tensors: the gradients of `parameters`, and what the metrics in `updates` take in, which run in Python. What metrics
    count on the host in a step is in `counts`; `learns` says whether the loss depends on any weight, `written` of each input
    whether an operation declares that it writes to it. Raises `Untraceable`.
    """

    def __init__(self, trainer: Any, leaves: Sequence[torch.Tensor], rebuild: Callable[[Sequence[Any]], Any]):
        self.trainer, self.rebuild = trainer, rebuild
        self.optimized: list[torch.Tensor] = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        self.draws: list[tuple[torch.Tensor, Callable[[], torch.Tensor]]] = []
        try:
            self._make_metrics(leaves)
            self._trace_some(leaves)
        except Untraceable:
            raise
        except Exception as error:
            raise _untraceable(error) from error

    def _make_metrics(self, leaves: Sequence[torch.Tensor]) -> None:
        """Make, on their device, the metrics that the first batch decides on. There was one, but maybe in another process."""
        objective = self.trainer.objective
        with _as_before(self.trainer._as_module()), FakeTensorMode(allow_non_fake_inputs=True) as fake, Untouched(), _Functions([]):
            x, y, _ = self.rebuild([fake.from_tensor(leaf) for leaf in leaves])
            outputs = self.trainer._training_outputs(x)
        for name, _ in outputs.metrics:
            objective.added.setdefault(name, Mean(name))
        objective.decide_metrics(outputs, y)
        for metric in filter(_is_known, objective.known_metrics()):
            metric._follow(leaves[0].device)

    def _trace_some(self, leaves: Sequence[torch.Tensor]) -> None:
        """Trace with the metrics of this library inside; without them, where one of them is what cannot be traced."""
        inside = [metric for metric in self.trainer.objective.known_metrics() if _is_known(metric)]
        losses = [metric for metric in inside if type(metric) is Mean]
        try:
            self._trace(leaves, inside)
        except Exception:
            if len(losses) == len(inside):
                raise
            self._trace(leaves, losses)

    def _trace(self, leaves: Sequence[torch.Tensor], inside: Sequence[Metric]) -> None:
        self.updates: list[tuple[Callable[..., None], list[Any]]] = []
        self.parameters: list[torch.Tensor] = []
        self.draws.clear()
        with ExitStack() as around:
            around.enter_context(_uncollected())
            around.enter_context(_as_before(self.trainer._as_module()))
            counted = around.enter_context(_on_plain_tensors(inside))
            for output in self.trainer.objective.outputs:
                around.enter_context(output.handing_out(lambda metric: not any(metric is one for one in inside), self._note))
            around.enter_context(_Functions(self.draws))
            step = Untouched.during(self._step)
            graph = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(*leaves)
            self.counts = list(counted())
        if len(graph.graph.nodes) > _MOST_OPERATIONS:
            raise Untraceable(f"it is {len(graph.graph.nodes)} operations long, and would take minutes to compile")
        self.kept = _with_inputs(graph, [value for value, _ in self.draws])
        self.written = _written_inputs(graph)
        self.graph = graph

    def _note(self, update: Callable[..., None], arguments: Sequence[Any]) -> None:
        self.updates.append((update, list(arguments)))

    def _step(self, *leaves: torch.Tensor) -> list[torch.Tensor]:
        """The training step up to the gradients. What the graph returns is numbered in `updates`."""
        trainer: Any = self.trainer
        x, y, weights = self.rebuild(leaves)
        outputs = trainer._training_outputs(x if True in trainer._spares_data else map_only(torch.Tensor, torch.clone, x))
        loss = trainer.objective.loss(outputs, y, weights)
        trainer.objective.track(loss, outputs, y, weights)
        trained = [parameter for parameter in self.optimized if parameter.requires_grad]
        self.learns = loss.requires_grad
        returned = self._gradients(loss, trained) if self.learns and trained else []
        for _, arguments in self.updates:
            for index, argument in enumerate(arguments):
                if isinstance(argument, torch.Tensor):
                    arguments[index] = Returned(len(returned))
                    returned.append(argument)
        self.returns = len(returned)
        return returned

    def _gradients(self, loss: torch.Tensor, trained: list[torch.Tensor]) -> list[torch.Tensor]:
        scale, seeds = self.trainer._scale_loss, None
        if scale is not None:
            seeds = [_drawn(self.draws, lambda: scale(torch.ones((), dtype=loss.dtype, device=loss.device)))]
        found = torch.autograd.grad([loss], trained, seeds, allow_unused=True)
        pairs = [(parameter, gradient) for parameter, gradient in zip(trained, found, strict=True) if gradient is not None]
        self.parameters = [parameter for parameter, _ in pairs]
        return [_laid_out_as(parameter, gradient) for parameter, gradient in pairs]


class Returned(int):
    """The number of a tensor among those that the graph returns.

    >>> Returned(2)
    2
    """


def _laid_out_as(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The gradient in the type and memory layout of its parameter, as autograd leaves it in `grad`."""
    if gradient.dtype == parameter.dtype and gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, requires_grad=False).copy_(gradient)


def _is_known(metric: Any) -> bool:
    """Whether this library alone computes the metric, and knows what it keeps beside tensors."""
    is_known = isinstance(metric, Metric) and is_ours(type(metric)) and metric.is_plain
    if not is_known or isinstance(metric, TorchMetric):
        return False
    own_function = not isinstance(metric, MeanMetricWrapper) or is_ours(metric.fn)
    return own_function and not any(True for _ in metric._inner())


# ---------------------------------------------------------------------- from captured tensors to inputs


def _with_inputs(graph: GraphModule, drawn: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Make inputs of the tensors that are drawn, then of all others that the graph has caught; return these in their order."""
    nodes = graph.graph
    last: Any = [node for node in nodes.nodes if node.op == "placeholder"][-1]
    inputs: dict[int, Any] = {}
    kept: list[torch.Tensor] = []
    caught: set[str] = set()

    def add(value: torch.Tensor) -> None:
        nonlocal last
        with nodes.inserting_after(last):
            last = inputs[id(value)] = nodes.placeholder(f"kept_{len(inputs)}")

    for tensor in drawn:
        add(tensor)
    for node in list(nodes.nodes):
        value = getattr(graph, node.target) if node.op == "get_attr" else None
        if not isinstance(value, torch.Tensor):
            continue
        if id(value) not in inputs:
            add(value)
            kept.append(value)
        node.replace_all_uses_with(inputs[id(value)])
        nodes.erase_node(node)
        caught.add(node.target)
    for name in caught:
        delattr(graph, name)
    graph.recompile()
    return kept


def _written_inputs(graph: GraphModule) -> list[bool]:
    """Whether operations write to an input, or to views of it, as far as they declare it."""
    written = set()
    for node in graph.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            for target in tree_leaves(written_by(node.target, node.args, node.kwargs)):
                while isinstance(target, Node) and _is_view(target):
                    target = target.args[0]
                written.add(target)
    return [node in written for node in graph.graph.nodes if node.op == "placeholder"]


def _is_view(node: Node) -> bool:
    """Whether a node shares the memory of its first argument."""
    if isinstance(node.target, torch._ops.OpOverload):
        return any(value.alias_info is not None for value in node.target._schema.returns)
    return node.target is operator.getitem


class _Functions(TorchFunctionMode):
    """Lets numbers from a generator of a layer's own be drawn at each step, before the graph, which cannot hold a generator.

    Raises for what reads or replaces the numbers of a tensor without an operation that could be traced.
    """

    def __init__(self, draws: list[Any]):
        super().__init__()
        self.draws = draws

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.tolist:
            raise DataDependentOutputException(func)  # type: ignore[arg-type]
        if func == _SET_DATA:
            raise RuntimeError("`tensor.data = ...` gives a tensor other memory; `tensor.copy_(...)` can be compiled")
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        if generator is None:
            return func(*args, **kwargs)
        if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves((args, kwargs))):
            raise Untraceable(f"{getattr(func, '__name__', func)} draws into tensors from a generator of its own")
        with _disable_current_modes():
            before = generator.get_state()
            value = _drawn(self.draws, lambda: func(*args, **kwargs))
            generator.set_state(before)
        return value


def _drawn(draws: list[Any], draw: Callable[[], torch.Tensor]) -> torch.Tensor:
    """A real tensor in the middle of tracing, which `draw` makes anew for each step."""
    with _disable_current_modes():
        value = draw()
    draws.append((value, draw))
    return value


# ---------------------------------------------------------------------- tracing leaves no trace


@contextmanager
def _as_before(module: nn.Module) -> Iterator[None]:
    """Leave random states, and what modules have in their attributes, as they were. Raises `Untraceable` for a tensor kept there."""
    states, devices = random_state(), device_states()
    try:
        with attributes_as_before(module):
            yield
    finally:
        set_random_state(states)
        set_device_states(devices)


@contextmanager
def attributes_as_before(module: nn.Module) -> Iterator[None]:
    """Leave what modules have in their attributes as it was. Raises `Untraceable` for a tensor kept there.

    >>> with attributes_as_before(layer := nn.ReLU()):
    ...     layer.calls = 1
    >>> hasattr(layer, "calls")
    False
    """
    kept = [(part, holder, entries_of(holder)) for part in module.modules() for holder in holders_of(part)]
    reason = ""
    try:
        yield
    finally:
        for part, holder, before in kept:
            changed = {name: value for name, value in entries_of(holder).items() if before.get(name, kept) is not value}
            if changed or len(holder) != len(before):
                names = [name for name, value in changed.items() if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(value))]
                reason = reason or "".join(f"{type(part).__name__} keeps a tensor ({name!r})" for name in names[:1])
                put_back(holder, before)
    if reason:
        raise Untraceable(f"{reason} for the next batch, which is no buffer of it")


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let no cycle of objects be collected: up to torch 2.9, a traced tensor in one is emptied though gradients need it."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


@contextmanager
def _on_plain_tensors(metrics: Sequence[Metric]) -> Iterator[Callable[[], Iterator[tuple[dict[str, Any], str, Any]]]]:
    """Let metrics gather in plain tensors, which share their states' memory, for tracing knows no subclasses of tensors.

    Yield a function that returns what they counted on the host: attributes, names, and what is added to an integer, or `True`.
    """
    before = [(vars(metric), dict(vars(metric))) for metric in metrics]
    for attributes, values in before:
        attributes.update({name: value.as_subclass(torch.Tensor) for name, value in values.items() if isinstance(value, State)})
    plain = [dict(attributes) for attributes, _ in before]

    def counted() -> Iterator[tuple[dict[str, Any], str, Any]]:
        for (attributes, _), start in zip(before, plain, strict=True):
            for name, value in attributes.items():
                if type(value) is int and type(start.get(name)) is int:
                    if value != start[name]:
                        yield attributes, name, value - start[name]
                elif value is True:
                    yield attributes, name, True
                elif value is not start.get(name):
                    raise Untraceable(f"the metric {start.get('name')!r} keeps more than numbers and tensors")

    try:
        yield counted
    finally:
        for attributes, values in before:
            attributes.clear()
            attributes.update(values)


def add_counts(counts: Sequence[tuple[dict[str, Any], str, Any]]) -> None:
    """Add what metrics count on the host in a step.

    >>> attributes = {"samples": 32, "is_weighted": False}
    >>> add_counts([(attributes, "samples", 32), (attributes, "is_weighted", True)])
    >>> attributes
    {'samples': 64, 'is_weighted': True}
    """
    for attributes, name, value in counts:
        attributes[name] = True if value is True else attributes[name] + value


def reason_of(error: BaseException) -> str:
    """Return what a user is told of an error that kept a step from being compiled, in a line.

    >>> reason_of(Untraceable("there are hooks")), reason_of(ValueError("no."))
    ('there are hooks', 'ValueError: no')
    """
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:300].rstrip(". ")
    return said if isinstance(error, Untraceable) else f"{type(error).__name__}: {said}"


def _untraceable(error: Exception) -> Untraceable:
    """An error that the step raised on tensors without data, with the place in the user's program."""
    said = reason_of(error)
    if any(word in type(error).__name__ for word in ("DataDependent", "DynamicOutputShape")):
        said = f"it depends on the values in tensors, as with .item() or an `if`, and not on their shapes alone ({said})"
    libraries = tuple(os.path.dirname(file) for file in (origin.__file__, torch.__file__, os.__file__))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if not frame.f_code.co_filename.startswith(("<", *libraries))]
    return Untraceable(f"{said}, in {frames[-1].f_code.co_filename}, line {frames[-1].f_lineno}" if frames else said)
