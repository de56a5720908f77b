"""The DAG the user draws: `KerasTensor` (a tensor to come) and `Node` (one call that makes tensors out of others)."""

import functools
import operator
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_flatten_with_path, tree_leaves, tree_unflatten

from torchkeras_fn import config
from torchkeras_fn.engine.basics.nested import leaves_of, map_only
from torchkeras_fn.engine.drawing.inference import InferenceError, infer
from torchkeras_fn.engine.drawing.spec import Spec

Shape = tuple[int | None, ...]


class Node:
    """One call event: an operation (a layer, or a torch function), the arguments it was given, and the tensors it made.

    `args` and `kwargs` hold `KerasTensor`s wherever tensors will flow; `outputs` has the structure of the result.
    The node of an input has no arguments.

    >>> from torchkeras_fn import Input
    >>> torch.relu(Input(shape=(3,))).node
    <Node relu -> [(None, 3)]>
    """

    def __init__(self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], specs: Any):
        self.operation = operation
        self.args = tuple(args)
        self.kwargs = dict(kwargs)
        self.parents: list[KerasTensor] = symbolic_leaves((self.args, self.kwargs))
        leaves, structure = tree_flatten_with_path(specs)
        self.outputs = tree_unflatten(
            [KerasTensor(leaf, self, path) if isinstance(leaf, Spec) else leaf for path, leaf in leaves], structure
        )
        self._readers: list[weakref.ref[Node]] = []
        for node in {id(parent.node): parent.node for parent in self.parents}.values():
            node._readers = [reader for reader in node._readers if reader() is not None] + [weakref.ref(self)]

    def __getstate__(self) -> dict[str, Any]:
        """A copy is read by nobody yet."""
        return {**self.__dict__, "_readers": []}

    @property
    def readers(self) -> list["Node"]:
        """The calls that read what this one made, in their order, as far as anybody still has what they made in turn."""
        return [node for reader in self._readers if (node := reader()) is not None]

    @property
    def outbound_layer(self) -> Any:
        """The operation, under Keras 2's name."""
        return self.operation

    @property
    def inbound_layers(self) -> list[Any]:
        """The operations that made what flows in, one for each tensor."""
        return [parent.node.operation for parent in self.parents]

    @property
    def input_tensors(self) -> list["KerasTensor"]:
        """The tensors that flow in; of an input, which has none, the input itself."""
        return self.parents or self.tensors

    @property
    def output_tensors(self) -> list["KerasTensor"]:
        """The tensors that this call made, under Keras 2's name."""
        return self.tensors

    @property
    def tensors(self) -> list["KerasTensor"]:
        """The tensors that this call made, flat."""
        return symbolic_leaves(self.outputs)

    def __repr__(self) -> str:
        shapes = [tensor.shape for tensor in self.tensors]
        return f"<Node {describe_operation(self.operation)} -> {shapes}>"


class KerasTensor:
    """A tensor that does not exist yet: a shape, a dtype, and the call that will make it.

    Any torch function, tensor method or operator works on it and becomes a node of the graph. Unknown dimensions
    of `shape` read `None`; `size(axis)` of an unknown dimension is itself symbolic, so that
    `x.view(x.size(0), -1)` reads as in torch.

    >>> from torchkeras_fn import Input
    >>> x = Input(shape=(3,))
    >>> (torch.cat([x, x], dim=-1) + 1).mean(1, keepdim=True).shape
    (None, 1)
    """

    def __init__(self, spec: Spec, node: Node, path: Any = ()):
        self.spec = spec
        self.node = node
        self._path = path
        self.shape: Shape = spec.shape
        self.dtype = spec.dtype

    @property
    def name(self) -> str:
        """The name of the layer or function that makes this tensor."""
        return str(getattr(self.node.operation, "name", None) or describe_operation(self.node.operation))

    @property
    def _keras_history(self) -> tuple[Any, int, int]:
        """The layer or function that makes this tensor, which of its calls it is, and which of the outputs of that, as in Keras 2."""
        calls = getattr(self.node.operation, "inbound_nodes", [])
        made = [id(tensor) for tensor in self.node.tensors]
        return self.node.operation, next((index for index, node in enumerate(calls) if node is self.node), 0), made.index(id(self))

    @functools.cached_property
    def _keras_shape(self) -> Shape:
        """The shape, under Keras 2's name; programs of that time set it too."""
        return self.shape

    @property
    def _keras_mask(self) -> Any:
        """The mask that comes with the tensor, drawn too; `None` where its layer makes none, and functions make none."""
        node, layer = self.node, self.node.operation
        if not node.parents or not hasattr(layer, "compute_mask"):
            return None
        if getattr(layer, "graph", None) is not None:
            raise AttributeError  # what the layers inside of a model make is not drawn here
        made = layer.compute_mask(node.args[0], map_symbolic(lambda tensor: tensor._keras_mask, node.args[0]))
        masks = made if isinstance(made, (list, tuple)) else [made]
        index = [id(tensor) for tensor in node.tensors].index(id(self))
        return masks[index] if index < len(masks) else None

    def pick(self, result: Any, item: Callable[[Any, Any], Any] = operator.getitem) -> Any:
        """Return this tensor's value out of the result of its call; `item` reads an element of a list, tuple or dict."""
        for key in self._path:
            result = getattr(result, key.name) if hasattr(key, "name") else item(result, key.idx if hasattr(key, "idx") else key.key)
        return result

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def dim(self) -> int:
        """Return the number of dimensions."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        """Return the size of one dimension (symbolic where unknown), or of all as a tuple."""
        if dim is None:
            return tuple(self.size(axis) for axis in range(self.ndim))
        known = self.shape[dim]
        return known if known is not None else record(torch.Tensor.size, (self, dim), {})

    def is_floating_point(self) -> bool:
        """Return whether the dtype is a float type."""
        return self.dtype.is_floating_point

    @classmethod
    def __torch_function__(cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return record(_MAKES_ANOTHER.get(func, func) if isinstance(args[0], torch.Tensor) else func, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(torch.Tensor, name, None) if not name.startswith("__") else None
        if attribute is None:
            of_models = " A Model has: build one from it." if name in ("compile", "fit", "evaluate", "predict", "summary") else ""
            raise AttributeError(f"A symbolic tensor has no attribute {name!r}.{of_models}")
        if callable(attribute):
            return lambda *args, **kwargs: record(attribute, (self, *args), kwargs)
        return record(getattr, (self, name), {})

    __array_ufunc__ = None  # numpy leaves `array + x` to `x`

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} has no value yet, so Python cannot branch on it. Use torch.where, or a Lambda layer, or a layer of your own."
        )

    def __iter__(self) -> Any:
        if not self.shape or self.shape[0] is None:
            raise TypeError(f"{self!r} has no known length. It is one tensor: where several are wanted, pass a list, [tensor].")
        return iter([record(operator.getitem, (self, index), {}) for index in range(self.shape[0])])

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"{self!r} holds no data: build a Model from it and call predict(). "
            "Torch's functions and this library's layers work on it, numpy's and other libraries' do not."
        )

    numpy = tolist = item = __float__ = __int__ = __array__

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"<KerasTensor shape={self.shape}, dtype={dtype}, from={describe_operation(self.node.operation)}>"


_MAKES_ANOTHER: Mapping[Any, Any] = {
    torch.Tensor.add_: operator.add,
    torch.Tensor.sub_: operator.sub,
    torch.Tensor.mul_: operator.mul,
    torch.Tensor.div_: operator.truediv,
    torch.Tensor.__pow__: operator.pow,
}
"""What `loss += x` draws where `loss` is a real tensor: the sum, as writing into the tensor would add up from run to run.

And `tensor ** x`, for which torch has a function that no written code can name.
"""


def _operator(function: Callable[..., Any], reflected: bool) -> Callable[..., Any]:
    if reflected:
        return lambda self, other: record(function, (other, self), {})
    return lambda self, *others: record(function, (self, *others), {})


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift"):
    _plain = _name.rstrip("_")
    setattr(KerasTensor, f"__{_plain}__", _operator(getattr(operator, _name), False))
    setattr(KerasTensor, f"__r{_plain}__", _operator(getattr(operator, _name), True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert", "getitem"):
    setattr(KerasTensor, f"__{_name}__", _operator(getattr(operator, _name), False))


def symbolic_leaves(tree: Any) -> list[KerasTensor]:
    """Return the symbolic tensors in a nested structure of lists, tuples, dicts and slices.

    >>> from torchkeras_fn import Input
    >>> len(symbolic_leaves([Input(shape=(3,)), {"again": Input(shape=(3,)), "number": 3}]))
    2
    """
    if isinstance(tree, KerasTensor):
        return [tree]
    return [leaf for leaf in leaves_of(tree) if isinstance(leaf, KerasTensor)]


def map_symbolic(function: Callable[[KerasTensor], Any], tree: Any) -> Any:
    """Return the structure with `function` applied to every symbolic tensor.

    >>> from torchkeras_fn import Input
    >>> map_symbolic(lambda tensor: tensor.shape, [Input(shape=(3,)), 2])
    [(None, 3), 2]
    """
    return map_only(KerasTensor, function, tree)


def is_symbolic(tree: Any) -> bool:
    """Return whether the structure holds a symbolic tensor.

    >>> is_symbolic([torch.ones(2), 3])
    False
    """
    return bool(symbolic_leaves(tree))


_REAL = frozenset((torch.Tensor, nn.Parameter, np.ndarray, bool, int, float, str, type(None)))


def calls_symbolic(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether a call has a symbolic tensor among its arguments; of usual calls their types say that it has none.

    >>> calls_symbolic([torch.ones(2)], {"training": True})
    False
    """
    for part in (*args, *kwargs.values()):
        if type(part) not in _REAL:
            return is_symbolic((args, kwargs))
    return False


def record(
    operation: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    function: Callable[..., Any] | None = None,
    device: torch.device | None = None,
) -> Any:
    """Draw one call: infer what it makes, add a `Node`, and return its symbolic outputs.

    `function` is what runs for the inference, `operation` itself unless given, and `device` where its weights are.
    Raises `ValueError` that names the operation and the shapes it was given where torch refuses them.

    >>> from torchkeras_fn import Input
    >>> record(torch.sum, (Input(shape=(3, 4)),), {"dim": 1})
    <KerasTensor shape=(None, 4), dtype=float32, from=sum>
    """
    if not hasattr(operation, "get_config"):
        _refuse_bare_module()
    args, kwargs = map_only((np.ndarray, np.generic), _as_torch, (tuple(args), dict(kwargs)))
    given, named = map_symbolic(lambda tensor: tensor.spec, (args, kwargs))
    try:
        result = _inferred(operation, function, given, named, device)
    except InferenceError as error:
        _refuse_in_a_loss(symbolic_leaves((args, kwargs)))
        shapes = ", ".join(str(tensor.shape) for tensor in symbolic_leaves((args, kwargs)))
        hint = _if_rows_are_fixed(function or operation, args, kwargs, device) or _if_a_size_is_unknown(args, kwargs)
        raise ValueError(f"{describe_operation(operation)} cannot take input of shape {shapes}: {error}{hint}") from error
    if not any(isinstance(leaf, Spec) for leaf in tree_leaves(result)):
        return result
    return Node(operation, args, kwargs, result).outputs


def _inferred(operation: Any, function: Callable[..., Any] | None, args: Any, kwargs: Any, device: torch.device | None) -> Any:
    """What a call makes; of one that cannot be run at once, such as that of a graph, the operation may tell it `specs_in_parts`."""
    try:
        return infer(function or operation, args, kwargs, device=device)
    except InferenceError:
        found = operation.specs_in_parts(*args, **kwargs) if hasattr(operation, "specs_in_parts") else None
        if found is None:
            raise
        return found


def _refuse_in_a_loss(tensors: Sequence[KerasTensor]) -> None:
    """Raise `ValueError` where a step computes a loss or a metric: in Keras 2 these may close over tensors of the graph."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") != f"{__package__}.objective":
        frame = frame.f_back
    if frame is not None:
        raise ValueError(
            f"A loss or metric reads {tensors[0]!r}, which was drawn and holds no data in a step. Draw the term too, and add it: "
            "model.add_loss(term) before compile, where loss may be None then, or model.add_metric(term, name)."
        )


def _if_rows_are_fixed(function: Callable[..., Any], args: Any, kwargs: Any, device: torch.device | None) -> str:
    """What to do about a constant whose rows go with batches of just their number, for an error message; nothing where none is to blame."""
    constants = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.ndim]
    for rows in {len(constant) for constant in constants if len(constant) > 1}:

        def of_rows(tensor: KerasTensor, rows: int = rows) -> Any:
            is_open = tensor.spec.number is None and tensor.shape[:1] == (None,)
            return Spec.of((rows, *tensor.shape[1:]), tensor.dtype) if is_open else tensor.spec

        given, named = map_symbolic(of_rows, (args, kwargs))
        try:
            infer(function, given, named, device=device)
        except InferenceError:
            continue
        return (
            f"\nA constant here has {rows} rows, but a batch may have any number. Give it one, constant[:1], which broadcasts (in a "
            f"concatenation: constant[:1] + 0 * x[:, :1]). If all batches have {rows}, say so: Input(batch_shape=({rows}, ...))."
        )
    return ""


def _if_a_size_is_unknown(args: Any, kwargs: Any) -> str:
    """What to do about `x.shape[0]`, for an error message; nothing where there is no `None` among the arguments."""
    asked = any(leaf is None for leaf in tree_leaves((args, kwargs)))
    return "\nFor a size that reads None in x.shape, x.size(axis) stands." if asked else ""


def describe_operation(operation: Any) -> str:
    """Return how an operation is named in messages: `digit (Dense)` for a layer, `cat` for a function.

    >>> describe_operation(torch.cat)
    'cat'
    """
    if hasattr(operation, "get_config"):
        given = getattr(operation, "given_name", None)
        kind = type(operation).__name__
        return f"{given} ({kind})" if given else kind
    return getattr(operation, "__name__", None) or type(operation).__name__


def _as_torch(value: Any) -> Any:
    """Return a numpy number as Python's, and an array as a tensor, of the float type where it is of floats."""
    if isinstance(value, np.generic):
        return value.item()
    return torch.as_tensor(value, dtype=config.dtype(None) if value.dtype == np.float64 else None)


def _refuse_bare_module() -> None:
    """Raise `TypeError` when a plain `nn.Module` was called on a symbolic tensor: its weights would get lost."""
    called, layer, frame = None, None, sys._getframe(2)
    while frame is not None:
        if frame.f_code is nn.Module._call_impl.__code__ and is_symbolic((frame.f_locals["args"], frame.f_locals["kwargs"])):
            called = type(frame.f_locals["self"]).__name__
        elif called is not None and frame.f_code.co_name == "call" and hasattr(frame.f_locals.get("self"), "get_config"):
            layer = frame.f_locals["self"]
        frame = frame.f_back  # type: ignore[assignment]
    if layer is not None:
        raise TypeError(
            f"The `call` of {describe_operation(layer)} runs on tensors, and was given a symbolic one. "
            "Call the layer itself, layer(x), which draws it."
        )
    if called is not None:
        raise TypeError(
            f"{called} is a plain torch module and was called on a symbolic tensor. "
            f"Wrap it to make it a layer: TorchModuleWrapper({called}(...))(x)."
        )
