"""`Recurrence`, the torch module that takes a cell through a sequence: fused where torch has a kernel, else step by step.

A mask hides steps: there the states stay and the output repeats the one before (zeros before the first). The fused
kernel knows no masks. It is given the steps that are shown first and the hidden ones last, and its outputs are put back
where they belong, so that any mask will do and nobody has to look at it: the device runs on without waiting.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from torchkeras_fn.engine.basics.modes import mode_of
from torchkeras_fn.engine.drawing.inferring import is_inferring
from torchkeras_fn.layers.recurrent.conv_lstm_step import ConvLSTMStep
from torchkeras_fn.layers.recurrent.steps import Step

_BUILT_IN = (Step, ConvLSTMStep)


class Ran(NamedTuple):
    """A cell after the last step: the outputs `(batch, steps, ...)` if they were asked for, the last of them, and the states.

    >>> Ran._fields
    ('outputs', 'last', 'states')
    """

    outputs: torch.Tensor | None
    last: torch.Tensor
    states: list[Any]


class Wanted(NamedTuple):
    """What a run is for: all outputs or the last, whether the last states matter, whether kernels may be used, constants for the cell.

    >>> Wanted().sequences
    False
    """

    sequences: bool = False
    states: bool = True
    fused: bool = True
    constants: Any = None


class PlainCell(nn.Module):
    """A cell of a stack that is no layer, only an object with a `state_size` and a `call`, as a torch module.

    >>> class Sum:
    ...     state_size = 2
    ...     def call(self, inputs, states):
    ...         return inputs + states[0], [inputs + states[0]]
    >>> PlainCell(Sum())(torch.ones(1, 2), [torch.ones(1, 2)])[0]
    tensor([[2., 2.]])
    """

    def __init__(self, cell: Any):
        super().__init__()
        self.call = cell.call
        self.state_size = cell.state_size
        if hasattr(cell, "get_initial_state"):
            self.get_initial_state = cell.get_initial_state

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the cell's `call` returns."""
        return self.call(*args, **kwargs)


class Stack(nn.Module):
    """Cells one after the other: the torch module of `StackedRNNCells`. A cell with one state that is not in a list has a tensor.

    >>> len(Stack([nn.Identity()], [True]).cells)
    1
    """

    def __init__(self, cells: Sequence[nn.Module], has_list: Sequence[bool]):
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.has_list = list(has_list)

    def forward(self, inputs: Any, states: Sequence[Any], training: bool | None = None) -> tuple[Any, list[Any]]:
        """Return the output of the last cell, and the states of all, after one step."""
        after = []
        with nullcontext() if training is None else mode_of(self, training=bool(training)):
            for cell, has_list, before in zip(self.cells, self.has_list, states, strict=True):
                inputs, new = cell(inputs, before if has_list else [before])
                after.append(new if has_list else _listed(new)[0])
        return inputs, after


class Recurrence(nn.Module):
    """Takes a cell through `(batch, steps, ...)`.

    Returns the last output, or all with `return_sequences`; with `return_state` a list of that and the last states.
    `go_backwards` begins at the end. A `stateful` one begins where the batch before ended. `zero_output_for_mask`
    makes the outputs 0 at hidden steps. `is_fused` allows torch's kernels.

    >>> from torchkeras_fn.layers.recurrent.steps import SimpleStep
    >>> Recurrence(SimpleStep(3, 2), return_sequences=True)(torch.ones(1, 4, 3)).shape
    torch.Size([1, 4, 2])
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        is_fused: bool = True,
    ):
        super().__init__()
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.zero_output_for_mask = zero_output_for_mask
        self.is_fused = is_fused
        self.begin: Callable[..., Any] | None = None
        """A `get_initial_state` that is asked in the place of the cell's."""

    def extra_repr(self) -> str:
        """Return the options that are on, for printing."""
        options = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
        return ", ".join(option for option in options if getattr(self, option))

    def forward(self, inputs: Any, initial_state: Any = None, mask: Any = None, constants: Any = None, training: bool | None = None) -> Any:
        """Run. The initial states may follow the sequence in a list of inputs; the mask is `(batch, steps)`, true where a step counts."""
        if training is not None:
            with mode_of(self, training=bool(training)):
                return self(inputs, initial_state, mask, constants)
        if isinstance(inputs, (list, tuple)):
            inputs, initial_state = inputs[0], list(inputs[1:]) or initial_state
        if inputs.shape[1] == 0:
            raise ValueError("a recurrent layer needs a sequence of at least one step, got one of none")
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        mask = None if mask is None else mask.bool()
        is_stateful = self.stateful and not is_inferring()  # a run without data leaves no states behind
        states = self.states_before(inputs, initial_state, is_stateful)
        if self.go_backwards:
            inputs, mask = inputs.flip(1), None if mask is None else mask.flip(1)
        wanted = Wanted(self.return_sequences, self.return_state or is_stateful, self.is_fused, constants)
        outputs, last, states = run(self.cell, inputs, states, mask, wanted)
        if is_stateful:
            self.keep(states)
        output: Any = outputs if self.return_sequences else last
        if mask is not None and self.zero_output_for_mask:
            output = output.masked_fill(~_over(mask if self.return_sequences else mask[:, -1], output), 0)
        return [output, *states] if self.return_state else output

    # ------------------------------------------------------------------ states

    def states_before(self, inputs: torch.Tensor, given: Any, is_stateful: bool) -> list[Any]:
        """Return the states to begin with: those given, those of the batch before, or the cell's own."""
        own = initial_states(self.cell, inputs) if self.begin is None else _asked(self.begin, inputs)
        if given is None and not is_stateful:
            return own
        leaves, structure = tree_flatten(own)
        found = tree_leaves(given) if given is not None else self.kept(leaves)
        if len(found) != len(leaves):
            raise ValueError(f"'initial_state' must hold {len(leaves)} tensors, one for each state of the cell; got {len(found)}")
        return tree_unflatten([_like(state, leaf) for state, leaf in zip(found, leaves, strict=True)], structure)  # type: ignore[no-any-return]

    def kept(self, own: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the states of the batch before; at first the given ones. Raises `ValueError` for a batch of another size."""
        names = [f"state_{index}" for index in range(len(own))]
        if names[0] not in self._buffers:
            with torch.inference_mode(False), torch.no_grad():
                for name, state in zip(names, own, strict=True):
                    self.register_buffer(name, torch.empty(state.shape, dtype=state.dtype, device=state.device), persistent=False)
                    self._buffers[name].copy_(state)  # type: ignore[union-attr]
        buffers = self.state_buffers()
        if len(buffers[0]) != len(own[0]):
            raise ValueError(
                f"a stateful layer keeps states for a batch of {len(buffers[0])}, but a batch of {len(own[0])} came. "
                f"Give batch_size={len(buffers[0])}, and a number of samples that it divides"
            )
        return [buffer.clone() for buffer in buffers]

    def keep(self, states: Any) -> None:
        """Note the last states, detached, for the next batch."""
        with torch.no_grad():
            for buffer, state in zip(self.state_buffers(), tree_leaves(states), strict=True):
                buffer.copy_(state)

    def state_buffers(self) -> list[torch.Tensor]:
        """Return the states that are kept; none before the first batch."""
        return [buffer for name, buffer in self._buffers.items() if name.startswith("state_") and buffer is not None]


def initial_states(cell: Any, inputs: torch.Tensor) -> list[Any]:
    """Return the states of a cell before the first step: what its `get_initial_state` says, or zeros of its `state_size`.

    >>> from torchkeras_fn.layers.recurrent.steps import SimpleStep
    >>> initial_states(SimpleStep(3, 2), torch.ones(1, 4, 3))
    [tensor([[0., 0.]])]
    """
    if isinstance(cell, _BUILT_IN):
        return cell.initial(inputs)
    if isinstance(cell, Stack):
        own = [initial_states(part, inputs) for part in cell.cells]
        return [states if has_list else states[0] for states, has_list in zip(own, cell.has_list, strict=True)]
    make = getattr(cell, "get_initial_state", None)
    return [inputs.new_zeros(inputs.shape[0], size) for size in _listed(cell.state_size)] if make is None else _asked(make, inputs)


def _asked(make: Callable[..., Any], inputs: torch.Tensor) -> list[Any]:
    """What a `get_initial_state` of a user's returns, be it written for the size of the batch, as in Keras 3, or for the inputs."""
    offered = {"inputs": inputs, "batch_size": inputs.shape[0], "dtype": inputs.dtype}
    known = inspect.signature(make).parameters
    named = {name: value for name, value in offered.items() if name in known}
    found = make(**named) if named or not known else make(inputs)
    return tree_map(lambda state: _like(state, inputs), _listed(found))  # type: ignore[no-any-return]


def takes_constants(cell: Any) -> bool:
    """Return whether the `call` of a cell names `constants`.

    >>> takes_constants(nn.Identity())
    False
    """
    return hasattr(cell, "call") and "constants" in inspect.signature(cell.call).parameters


def run(cell: Any, inputs: torch.Tensor, states: list[Any], mask: torch.Tensor | None, wanted: Wanted) -> Ran:
    """Take a cell through all steps: a stack cell by cell, a built-in cell in torch's kernel if it has one, others in a loop."""
    if isinstance(cell, Stack):
        return _run_stack(cell, inputs, states, mask, wanted)
    if torch.compiler.is_exporting() and not isinstance(inputs.shape[1], int):
        return _run_scan(cell, inputs, states, mask, wanted)
    if not (isinstance(cell, Step) and wanted.fused and cell.is_fusable()):
        return _run_loop(cell, inputs, states, mask, wanted)
    inputs = cell.dropped(inputs, cell.patterns(inputs))
    return _run_fused(cell, inputs, states, wanted) if mask is None else _run_fused_and_masked(cell, inputs, states, mask, wanted)


def _run_stack(stack: Stack, inputs: Any, states: list[Any], mask: torch.Tensor | None, wanted: Wanted) -> Ran:
    after = []
    for index, (cell, has_list, before) in enumerate(zip(stack.cells, stack.has_list, states, strict=True)):
        own = wanted._replace(
            sequences=wanted.sequences or index < len(stack.cells) - 1, constants=wanted.constants if takes_constants(cell) else None
        )
        ran = run(cell, inputs, before if has_list else [before], mask, own)
        after.append(ran.states if has_list else ran.states[0])
        inputs = ran.outputs
    return ran._replace(states=after)


def _run_fused(cell: Step, inputs: torch.Tensor, states: list[Any], wanted: Wanted) -> Ran:
    outputs, states = cell.fused(inputs, states)
    return Ran(outputs, states[0], states)


def _run_fused_and_masked(cell: Step, inputs: torch.Tensor, states: list[Any], mask: torch.Tensor, wanted: Wanted) -> Ran:
    order = _shown_first(mask)
    shown_so_far = mask.cumsum(1)
    frozen = ~mask.gather(1, order) if wanted.states and cell.state_count > 1 else None
    outputs, ends = cell.fused(_take(inputs, order), states, frozen)
    history = torch.cat([torch.zeros_like(outputs[:, :1]), outputs], 1)  # by how many steps were shown
    last = _take(history, shown_so_far[:, -1:])[:, 0]
    last_state = torch.where(shown_so_far[:, -1:] > 0, last, states[0])
    return Ran(_take(history, shown_so_far) if wanted.sequences else None, last, [last_state, *ends[1:]])


def _run_loop(cell: Any, inputs: torch.Tensor, states: list[Any], mask: torch.Tensor | None, wanted: Wanted) -> Ran:
    steps, advance = _prepared(cell, inputs, wanted)
    structure = tree_flatten(states)[1]
    outputs: list[torch.Tensor] = []
    output: Any = None
    for index, given in enumerate(steps.unbind(1)):
        new, after = advance(given, states)
        leaves = tree_leaves(after)
        if mask is not None:
            shown, before = mask[:, index], torch.zeros_like(new) if output is None else output
            new = torch.where(_over(shown, new), new, before)
            leaves = [torch.where(_over(shown, a), a, b) for a, b in zip(leaves, tree_leaves(states), strict=True)]
        output, states = new, tree_unflatten(leaves, structure)
        if wanted.sequences:
            outputs.append(output)
    return Ran(torch.stack(outputs, 1) if outputs else None, output, states)


def _run_scan(cell: Any, inputs: torch.Tensor, states: list[Any], mask: torch.Tensor | None, wanted: Wanted) -> Ran:
    """The loop as one operation of the graph, for an export that leaves the number of steps open."""
    steps, advance = _prepared(cell, inputs, wanted)
    before, structure = tree_flatten(states)
    first, _ = advance(steps[:, 0], states)  # tells the shape of the outputs
    whole = {"memory_format": torch.contiguous_format}

    def step(carry: list[torch.Tensor], given: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        new, after = advance(given[0], tree_unflatten(carry[1:], structure))
        leaves = [new, *tree_leaves(after)]
        if mask is not None:
            leaves = [torch.where(_over(given[1], a), a, b) for a, b in zip(leaves, carry, strict=True)]
        return [leaf.clone(**whole) for leaf in leaves], leaves[0].clone(**whole)

    given = [part.movedim(1, 0) for part in (steps, mask) if part is not None]
    start = [leaf.clone(**whole) for leaf in (torch.zeros_like(first), *before)]
    (last, *after), outputs = torch._higher_order_ops.scan(step, start, given)
    return Ran(outputs.movedim(0, 1), last, tree_unflatten(after, structure))


def _prepared(cell: Any, inputs: torch.Tensor, wanted: Wanted) -> tuple[torch.Tensor, Callable[..., Any]]:
    """What each step is given, and the function of that and the states to the output and the new states."""
    if isinstance(cell, _BUILT_IN):
        patterns = cell.patterns(inputs)
        return cell.projected(inputs, patterns), lambda given, states: cell.advance(given, states, patterns)
    keywords = {} if wanted.constants is None else {"constants": _listed(wanted.constants)}
    return inputs, functools.partial(cell if callable(cell) else cell.call, **keywords)


def _shown_first(mask: torch.Tensor) -> torch.Tensor:
    """The steps of each row in another order: those that are shown, then the hidden ones."""
    if torch.compiler.is_exporting():  # ONNX has no stable sort, so no two numbers may be alike
        steps = torch.arange(mask.shape[1], device=mask.device)
        return torch.where(mask, steps - mask.shape[1], steps).argsort(dim=1)
    return mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)


def _take(sequence: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """The given steps of each row: `(batch, steps, features)` and `(batch, taken)` to `(batch, taken, features)`."""
    batch, length = sequence.shape[:2]
    rows = torch.arange(batch, device=steps.device).unsqueeze(1) * length + steps
    return sequence.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, steps.shape)  # type: ignore[no-any-return]


def _over(mask: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """A mask with as many axes as a tensor that it is laid over."""
    return mask.reshape(*mask.shape, *[1] * (tensor.ndim - mask.ndim))


def _like(state: Any, other: torch.Tensor) -> torch.Tensor:
    """A state as a tensor of the type and on the device of another."""
    return torch.as_tensor(state).to(other)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
