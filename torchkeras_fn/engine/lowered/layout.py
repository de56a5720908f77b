"""Where the channels are: `Spatial`, the base of layers over images, and the pass that takes needless permutations out.

Keras keeps the channels last, torch next to the batch. A `Spatial` layer permutes on the way in and back on the way out,
both as views: an NHWC array seen as NCHW is exactly torch's `channels_last` memory format. Between two such layers the
two permutations undo each other, and `settle_permutations` drops them from the lowered graph.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import config
from torchkeras_fn.arguments import one_of, positive_integer
from torchkeras_fn.engine.layer import Layer


class Spatial(Layer):
    """A layer whose torch module takes `(batch, channels, *sizes)`; with `channels_last` the tensors outside have the channels last.

    >>> Spatial.rank
    2
    """

    rank: ClassVar[int] = 2
    """The number of axes other than the batch and the channels."""
    needs_floats = True
    channels_last: bool = True

    def set_data_format(self, data_format: str | None) -> None:
        """Set which axis holds the channels; `None` means what `config.image_data_format()` says."""
        self.data_format = one_of(data_format or config.image_data_format(), "data_format", "channels_last", "channels_first")
        self.channels_last = self.data_format == "channels_last"

    def prepare(self, inputs: Any) -> Any:
        """Put the channels next to the batch, as a view."""
        return channels_to_front(inputs, self.rank + 1, self.rank + 2) if self.channels_last else inputs

    def restore(self, outputs: Any) -> Any:
        """Put the channels last again, as a view."""
        return channels_back(outputs, self.rank + 1, self.rank + 2) if self.channels_last else outputs

    def finish(self, outputs: Any) -> Any:
        """Restore the axes, and apply the activation."""
        return super().finish(self.restore(outputs))

    def spatial_sizes(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the sizes without batch and channels. Raises `ValueError` where the input is of another rank."""
        if isinstance(input_shape, list):
            raise ValueError("expected one input, got a list of them; join them first, for example with Concatenate()")
        axes = [*("depth", "height", "width")[3 - self.rank :]] if self.rank > 1 else ["steps"]
        names = ", ".join(["batch", *axes, "channels"] if self.channels_last else ["batch", "channels", *axes])
        if len(input_shape) != self.rank + 2:
            raise ValueError(f"expected {self.rank + 2} dimensions ({names}), got {len(input_shape)}")
        return tuple(input_shape[1:-1] if self.channels_last else input_shape[2:])

    def channels(self, input_shape: Sequence[int | None]) -> int:
        """Return the number of channels. Raises `ValueError` where it is unknown, or the input is of another rank."""
        self.spatial_sizes(input_shape)
        found = input_shape[-1 if self.channels_last else 1]
        if found is None:
            raise ValueError("the number of channels must be known, got None")
        return int(found)

    def sizes_of(self, inputs: Any) -> list[Any]:
        """Return the sizes of a tensor with the channels next to the batch, as integers wherever they can be told.

        While a graph is written `inputs` holds no data: the sizes are those of the drawing, and what is unknown there,
        or differs between two calls of the layer, is written down as a look at the tensor.
        """
        if isinstance(inputs, torch.Tensor):
            return list(inputs.shape[2:])
        drawn = {self.spatial_sizes(node.args[0].shape) for node in self._nodes}
        known = drawn.pop() if len(drawn) == 1 else (None,) * self.rank
        return [inputs.size(axis + 2) if size is None else size for axis, size in enumerate(known)]

    def check_windows(self, input_shape: Sequence[int | None], windows: Sequence[int], argument: str) -> None:
        """Raise `ValueError` where a window is larger than the input."""
        sizes = self.spatial_sizes(input_shape)
        if any(size is not None and size < window for size, window in zip(sizes, windows, strict=True)):
            raise ValueError(f"{argument} covers {tuple(windows)}, which is larger than the input's {sizes}; padding='same' would allow it")


def channels_to_front(inputs: Any, position: int, rank: int) -> Any:
    """Return a view in which the axis at `position` comes next to the batch.

    >>> channels_to_front(torch.ones(2, 8, 9, 3), position=3, rank=4).shape
    torch.Size([2, 3, 8, 9])
    """
    order = (0, position, *(axis for axis in range(1, rank) if axis != position))
    return inputs if position == 1 else inputs.permute(*order)


def channels_back(outputs: Any, position: int, rank: int) -> Any:
    """Return a view in which the axis next to the batch comes to `position`: the reverse of `channels_to_front`.

    >>> channels_back(torch.ones(2, 3, 8, 9), position=3, rank=4).shape
    torch.Size([2, 8, 9, 3])
    """
    others = list(range(2, rank))
    return outputs if position == 1 else outputs.permute(0, *others[: position - 1], 1, *others[position - 1 :])


def per_axis(value: Any, argument: str, rank: int, minimum: int = 1) -> tuple[int, ...]:
    """Return a number for each axis, from one number for all or one for each. Raises `ValueError` that names the argument.

    >>> per_axis(3, "kernel_size", rank=2), per_axis([1, 2], "strides", rank=2)
    ((3, 3), (1, 2))
    """
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{argument!r} must be an integer or {rank} of them, got {value!r}.")
    return tuple(positive_integer(part, argument, minimum) for part in values)


def same_padding(size: Any, window: int, stride: int) -> tuple[Any, Any]:
    """Return the zeros before and after an axis with which `ceil(size / stride)` windows fit; the odd one is after.

    >>> same_padding(7, window=3, stride=1), same_padding(8, window=3, stride=2)
    ((1, 1), (0, 1))
    """
    total = window - 1 if stride == 1 else torch.sym_max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


# ---------------------------------------------------------------------- permutations of a lowered graph

_POINTWISE_FUNCTIONS: set[Any] = {
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.softplus, F.softsign, F.logsigmoid),
    *(F.hardsigmoid, F.hardswish, F.hardtanh, F.tanhshrink, F.hardshrink, F.softshrink, F.threshold, F.sigmoid, F.tanh),
    *(torch.relu, torch.sigmoid, torch.tanh, torch.exp, torch.square, torch.abs, torch.clamp, torch.maximum, torch.minimum),
    *(torch.add, torch.sub, torch.mul, torch.div, operator.add, operator.sub, operator.mul, operator.truediv, operator.neg),
}
_POINTWISE_METHODS = {"relu", "sigmoid", "tanh", "exp", "square", "abs", "clamp", "add", "sub", "mul", "div", "neg"}
_POINTWISE_MODULES = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign),
    *(nn.LogSigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.Threshold),
    *(nn.Sigmoid, nn.Tanh, nn.Identity, nn.Dropout, nn.AlphaDropout),
)


def settle_permutations(graph: Any, module_of: Callable[[str], Any]) -> None:
    """Move permutations past functions of single elements, joining and padding, and drop those that undo the one before.

    The fx graph is changed in place; `module_of` returns the torch module of a target.

    >>> graph = torch.fx.Graph()
    >>> there = graph.call_method("permute", (graph.placeholder("x"), 0, 2, 1))
    >>> _ = graph.output(graph.call_method("permute", (graph.call_function(F.relu, (there,)), 0, 2, 1)))
    >>> settle_permutations(graph, {}.get)
    >>> [node.name for node in graph.nodes]
    ['x', 'relu', 'output']
    """
    for node in graph.nodes:
        if _is_pointwise(node, module_of) or node.target in (torch.cat, F.pad):
            _permute_after(graph, node)
        elif _is_permutation(node) and _is_permutation(node.args[0]) and _undo_each_other(node.args[0], node):
            node.replace_all_uses_with(node.args[0].args[0])
    for node in reversed(graph.nodes):
        if _is_permutation(node) and not node.users:
            graph.erase_node(node)


def _is_pointwise(node: Any, module_of: Callable[[str], Any]) -> bool:
    if node.op == "call_module":
        return type(module_of(str(node.target))) in _POINTWISE_MODULES
    return node.target in (_POINTWISE_FUNCTIONS if node.op == "call_function" else _POINTWISE_METHODS if node.op == "call_method" else ())


def _is_permutation(node: Any) -> bool:
    """Whether it is `x.permute(0, 3, 1, 2)`, the axes counted from the front."""
    if getattr(node, "op", "") != "call_method" or node.target != "permute" or node.kwargs:
        return False
    return all(isinstance(axis, int) and axis >= 0 for axis in node.args[1:])


def _permute_after(graph: Any, node: Any) -> None:
    """Write `f(x.permute(...))` as `f(x).permute(...)`, where all tensors that go in are permuted alike."""
    inputs = node.all_input_nodes
    if not inputs or not all(_is_permutation(part) for part in inputs) or len({part.args[1:] for part in inputs}) > 1:
        return
    order = inputs[0].args[1:]
    if node.target in (torch.cat, F.pad):
        moved = _along_other_axes(node, order)
        if moved is None:
            return
        node.args = moved
    for part in inputs:
        node.replace_input_with(part, part.args[0])
    with graph.inserting_after(node):
        back = graph.call_method("permute", (node, *order))
    node.replace_all_uses_with(back, delete_user_cb=lambda user: user is not back)


def _along_other_axes(node: Any, order: Sequence[int]) -> tuple[Any, ...] | None:
    """The arguments with which `torch.cat(tensors, axis)` or `F.pad(x, zeros)` does the same before the permutation.

    `None` for a call in another form.
    """
    if len(node.args) != 2:
        return None
    first, second = node.args
    if node.target is torch.cat:
        return None if node.kwargs or not isinstance(second, int) else (first, order[second])
    if not isinstance(second, (list, tuple)) or len(second) % 2 or node.kwargs.get("mode", "constant") != "constant":
        return None
    pairs = dict.fromkeys(range(len(order)), (0, 0))
    for place in range(len(second) // 2):  # pairs are listed from the last axis on
        pairs[order[-1 - place]] = (second[2 * place], second[2 * place + 1])
    padded = [axis for axis, pair in pairs.items() if pair != (0, 0)] or [len(order) - 1]
    return first, [count for axis in range(len(order) - 1, min(padded) - 1, -1) for count in pairs[axis]]


def _undo_each_other(first: Any, second: Any) -> bool:
    return [first.args[1:][axis] for axis in second.args[1:]] == list(range(len(second.args) - 1))
