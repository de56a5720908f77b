"""Loops over the parts of a tensor, step by step, and losses over sequences."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_map

from torchkeras_fn import config, ops
from torchkeras_fn.engine.symbolic import is_symbolic
from torchkeras_fn.ops.conversion import as_floats, as_tensor
from torchkeras_fn.ops.nn import ctc


def map_fn(fn: Callable[[Any], Any], elems: Any, name: str | None = None, dtype: Any = None) -> Any:
    """Return the results of a function for each part of `elems` along the first axis, stacked.

    >>> map_fn(lambda x: x * 2, torch.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    mapped = ops.map(fn, elems)
    return mapped if dtype is None else tree_map(lambda tensor: as_tensor(tensor, dtype), mapped)


def foldl(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: str | None = None) -> Any:
    """Return what is left of `value = fn(value, part)` over the parts along the first axis; it begins as the first part, or `initializer`.

    >>> foldl(lambda total, x: total + x, torch.tensor([1.0, 2.0, 3.0]))
    tensor(6.)
    """
    return _fold(fn, elems, initializer, reverse=False)


def foldr(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: str | None = None) -> Any:
    """Return what `foldl` does, from the last part to the first.

    >>> foldr(lambda total, x: total - x, torch.tensor([1.0, 2.0, 3.0]))
    tensor(0.)
    """
    return _fold(fn, elems, initializer, reverse=True)


def _fold(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any, reverse: bool) -> Any:
    if is_symbolic(elems):
        raise ValueError("K.foldl and K.foldr need tensors to walk along, and these are symbolic. Put them in a Lambda layer.")
    parts = list(torch.unbind(as_tensor(elems)))
    parts = parts[::-1] if reverse else parts
    value = initializer if initializer is not None else parts.pop(0)
    for part in parts:
        value = fn(value, part)
    return value


def rnn(
    step_function: Callable[[Any, list[Any]], tuple[Any, list[Any]]],
    inputs: Any,
    initial_states: Sequence[Any],
    go_backwards: bool = False,
    mask: Any = None,
    constants: Sequence[Any] | None = None,
    unroll: bool = False,
    input_length: int | None = None,
) -> tuple[Any, Any, list[Any]]:
    """Return the last output, all outputs `(batch, steps, ...)` and the last states of `output, states = step_function(input, states)`.

    `inputs` is `(batch, steps, ...)`; the number of steps is known. Where the `mask` `(batch, steps)` hides a step, the states
    and the output stay what they were; the output before the first step is 0. `constants` are handed on after the states.

    >>> last, outputs, states = rnn(lambda x, states: (x + states[0], [x + states[0]]), torch.ones(1, 3, 2), [torch.zeros(1, 2)])
    >>> last, outputs.shape
    (tensor([[3., 3.]]), torch.Size([1, 3, 2]))
    """
    inputs = as_tensor(inputs)
    if inputs.shape[1] is None:
        raise ValueError("K.rnn walks along a known number of steps, and here it is unknown. Put it in a layer's call, or use layers.RNN.")
    states, constants = [as_tensor(state) for state in initial_states], list(constants or [])
    seen = None if mask is None else as_tensor(mask).to(torch.bool)
    outputs: list[Any] = []
    steps = range(inputs.shape[1])
    for step in reversed(steps) if go_backwards else steps:
        output, new_states = step_function(inputs[:, step], [*states, *constants])
        if seen is not None:
            shown = seen[:, step] if seen.ndim == 2 else seen[:, step].reshape(seen.shape[0], -1).all(-1)
            output = _where_shown(shown, output, outputs[-1] if outputs else torch.zeros_like(output))
            new_states = [_where_shown(shown, new, old) for new, old in zip(new_states, states, strict=True)]
        outputs.append(output)
        states = list(new_states)
    return outputs[-1], torch.stack(outputs, 1), states


def _where_shown(shown: Any, new: Any, old: Any) -> Any:
    for _ in range(new.ndim - 1):
        shown = torch.unsqueeze(shown, -1)
    return torch.where(shown, new, old)


def ctc_batch_cost(y_true: Any, y_pred: Any, input_length: Any, label_length: Any) -> Any:
    """Return the CTC loss `(batch, 1)` of labels `(batch, labels)` for probabilities `(batch, steps, classes)`.

    The last class stands for no label; the lengths are `(batch, 1)`. Source: Graves et al., 2006.

    >>> ctc_batch_cost([[0]], torch.full((1, 1, 2), 0.5), [[1]], [[1]])
    tensor([[0.6931]])
    """
    logits = torch.log(as_floats(y_pred) + config.epsilon())
    steps, lengths = (torch.flatten(as_tensor(part)) for part in (input_length, label_length))
    return torch.unsqueeze(ctc(logits, y_true, steps, lengths, blank=logits.shape[-1] - 1), -1)


def ctc_decode(y_pred: Any, input_length: Any, greedy: bool = True, beam_width: int = 100, top_paths: int = 1) -> tuple[list[Any], Any]:
    """Return `([labels], scores)`: what probabilities `(batch, steps, classes)` spell when the likeliest class is taken at each step.

    Repetitions are taken once, and the last class stands for no label. Labels are `(batch, longest)`, ended by -1 (drawn: of
    as many as there are steps), scores `(batch, 1)` the negative logarithms of the probabilities taken. `input_length` is
    the number of steps of each sample. Raises `ValueError` for `greedy=False`.

    >>> ctc_decode(torch.nn.functional.one_hot(torch.tensor([[0, 0, 2, 0, 1]])).float(), [5])[0]
    [tensor([[0, 0, 1]])]
    """
    if not greedy:
        raise ValueError(f"ctc_decode takes the likeliest class at each step (greedy=True); there is no search with {beam_width} beams.")
    probabilities = as_floats(y_pred)
    likeliest, classes = torch.max(probabilities, -1)
    steps = torch.cumsum(torch.ones_like(classes), -1) <= torch.reshape(as_tensor(input_length, like=classes), (-1, 1))
    before = torch.nn.functional.pad(classes, (1, 0), value=-1)[:, :-1]
    is_label = steps & (classes != before) & (classes != probabilities.shape[-1] - 1)
    order = torch.argsort(torch.logical_not(is_label).to(torch.int8), dim=-1, stable=True)
    labels = torch.gather(torch.where(is_label, classes, -1), -1, order)
    if not is_symbolic(labels):
        labels = labels[:, : int(is_label.sum(-1).amax())]
    scores = -torch.sum(torch.log(likeliest + config.epsilon()) * steps, -1, keepdim=True)
    return [labels], scores
