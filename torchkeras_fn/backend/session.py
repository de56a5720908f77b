"""What a TensorFlow session was for: functions over a drawn graph, the training phase, names; and what torch does otherwise."""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from torchkeras_fn import ops
from torchkeras_fn.backend.noise import forget_sequences
from torchkeras_fn.engine.basics.modes import mode_of
from torchkeras_fn.engine.device import device_of
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.layer import pinned_names
from torchkeras_fn.engine.lowering import lower
from torchkeras_fn.engine.symbolic import KerasTensor, is_symbolic
from torchkeras_fn.ops.conversion import as_tensor, as_tensors, entry, is_tensor

_numbers: Counter[str] = Counter()
_phase: int | None = None


def backend() -> str:
    """Return `'torch'`.

    >>> backend()
    'torch'
    """
    return "torch"


def clear_session() -> None:
    """Let automatic names and the numbers of `get_uid` begin anew. Models and weights stay what they are.

    >>> clear_session()
    """
    global _phase
    pinned_names.clear()
    _numbers.clear()
    forget_sequences()
    _phase = None


def get_uid(prefix: str = "") -> int:
    """Return 1 for a new prefix, 2 the next time, and so on.

    >>> reset_uids()
    >>> get_uid("dense"), get_uid("dense")
    (1, 2)
    """
    _numbers[prefix] += 1
    return _numbers[prefix]


def reset_uids() -> None:
    """Let the numbers of `get_uid` begin anew.

    >>> reset_uids()
    """
    _numbers.clear()


def name_scope(name: str) -> contextlib.AbstractContextManager[None]:
    """Return a `with` block that does nothing: names of weights are those of the layers.

    >>> with name_scope("block"):
    ...     pass
    """
    return contextlib.nullcontext()


class Function:
    """Computes drawn tensors: called with a list of arrays, one for each input, it returns a list of arrays.

    Where an input is `K.learning_phase()`, the value given for it, 1 or 0, says whether layers run in training mode.

    >>> from torchkeras_fn import Input
    >>> x = Input(shape=(2,))
    >>> Function([x], [x * 2])([torch.ones(1, 2)])
    [array([[2., 2.]], dtype=float32)]
    """

    def __init__(self, inputs: Sequence[Any], outputs: Sequence[Any], name: str = "Function"):
        self.graph = Graph([tensor for tensor in inputs if isinstance(tensor, KerasTensor)], outputs)
        self._is_phase = [not isinstance(tensor, KerasTensor) for tensor in inputs]
        self._module = lower(self.graph, name)

    def __call__(self, inputs: Any) -> list[Any]:
        given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if len(given) != len(self._is_phase):
            raise ValueError(f"This function takes {len(self._is_phase)} inputs, got {len(given)}.")
        phases = [value for value, is_phase in zip(given, self._is_phase, strict=True) if is_phase]
        device = device_of(self._module)
        arrays = [value for value, is_phase in zip(given, self._is_phase, strict=True) if not is_phase]
        tensors = [as_tensor(array, self.graph.input_dtype(index)).to(device) for index, array in enumerate(arrays)]
        with torch.no_grad(), mode_of(self._module, training=bool(phases and phases[0])):
            found = self._module(*tensors)
        listed = found if isinstance(found, (list, tuple)) else [found]
        return [np.array(ops.convert_to_numpy(tensor)) for tensor in listed]  # of their own, as an output may be a weight or an input


def function(inputs: Sequence[Any], outputs: Any, updates: Sequence[Any] | None = None, **kwargs: Any) -> Callable[[Any], Any]:
    """Return a function that computes drawn tensors from arrays, such as the output of a layer in the middle of a model.

    Raises `ValueError` for updates: what changes a variable is written where it happens, in torch.

    >>> from torchkeras_fn import Input
    >>> x = Input(shape=(2,))
    >>> function([x], [x * 2])([torch.ones(1, 2)])
    [array([[2., 2.]], dtype=float32)]
    """
    if updates:
        raise ValueError("K.function takes no updates: torch runs them where they are written, as in K.update(variable, value).")
    if isinstance(outputs, (list, tuple)):
        return Function(inputs, outputs, **kwargs)
    alone = Function(inputs, [outputs], **kwargs)
    return lambda arrays: alone(arrays)[0]


# ---------------------------------------------------------------------- training or not


def learning_phase() -> int:
    """Return 1 in training and 0 otherwise: what was set, or else whether gradients are recorded, as in training alone.

    >>> with torch.no_grad():
    ...     learning_phase()
    0
    """
    return int(torch.is_grad_enabled()) if _phase is None else _phase


def set_learning_phase(value: int) -> None:
    """Fix what `learning_phase` returns, to 1 or 0, until `clear_session`. Layers follow the mode of their model all the same.

    Raises `ValueError` for another value.

    >>> set_learning_phase(0)
    >>> learning_phase()
    0
    >>> clear_session()
    """
    global _phase
    if value not in (0, 1):
        raise ValueError(f"The learning phase is 0 or 1, got {value!r}.")
    _phase = int(value)


def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """Return `x` in training and `alt` otherwise; either may be a function that returns it, and only one of them is called.

    `training` is what a layer's `call` was given, `learning_phase()` unless given. Raises `ValueError` for symbolic
    tensors without it: a drawn graph serves both.

    >>> in_train_phase(1.0, lambda: 2.0, training=False)
    2.0
    """
    if training is None and (is_symbolic(x) or is_symbolic(alt)):
        raise ValueError("A drawn graph is for training and inference alike. Put K.in_train_phase in a layer with call(inputs, training).")
    if is_tensor(training):
        return switch(training, x, alt)
    return _value(x) if (learning_phase() if training is None else training) else _value(alt)


def in_test_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """Return `alt` in training and `x` otherwise.

    >>> in_test_phase(1.0, 2.0, training=False)
    1.0
    """
    return in_train_phase(alt, x, training)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Return the first where the condition holds and the second elsewhere; either may be a function that returns it.

    A condition of fewer axes decides on whole samples. Where it is a tensor both functions are called.

    >>> switch(torch.tensor([True, False]), torch.ones(2, 1), torch.zeros(2, 1)).flatten()
    tensor([1., 0.])
    """
    if not is_tensor(condition):
        return _value(then_expression) if condition else _value(else_expression)
    first, second = as_tensors(_value(then_expression), _value(else_expression))
    condition = as_tensor(condition, torch.bool)
    for _ in range(max(first.ndim, second.ndim) - condition.ndim if condition.ndim else 0):
        condition = torch.unsqueeze(condition, -1)
    return torch.where(condition, first, second)


def _value(expression: Any) -> Any:
    return expression() if callable(expression) and not is_tensor(expression) else expression


def print_tensor(x: Any, message: str = "", summarize: int = 3) -> Any:
    """Print a tensor, and return it. Raises `ValueError` for a symbolic one, which has no value yet.

    >>> print_tensor(torch.ones(2), "x =")
    x = tensor([1., 1.])
    tensor([1., 1.])
    """
    if is_symbolic(x):
        raise ValueError("A symbolic tensor has no value to print. Put K.print_tensor in a Lambda layer, and it prints in every run.")
    print(*([message] if message else []), x)
    return x


# ---------------------------------------------------------------------- what there is no use for


def _unavailable(name: str, instead: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"K.{name} has no meaning in torch, which builds no graph before it runs. {instead}")

    return entry(refuse, name, __name__, f"Raise `NotImplementedError`. {instead}")


get_session = _unavailable("get_session", "There is no session: tensors have their values at once, models run when they are called.")
set_session = _unavailable("set_session", "There is no session: choose the device in compile(device=...), and threads with torch.")
manual_variable_initialization = _unavailable("manual_variable_initialization", "Weights have their first values from the start.")
