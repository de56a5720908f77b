"""Where a layer stands in the graph: what it was called on, what it returned, and the shapes of both."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras_fn.engine.drawing.spec import Spec
from torchkeras_fn.engine.symbolic import KerasTensor, Node, Shape, describe_operation


class Connections:
    """The part of a layer that knows its calls on symbolic tensors.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> layer = Dense(2)
    >>> _ = layer(Input(shape=(3,)))
    >>> layer.input_shape, layer.output_shape
    ((None, 3), (None, 2))
    """

    _nodes: list[Node]
    _draw: Callable[..., Any]
    dtype: torch.dtype

    @property
    def inbound_nodes(self) -> list[Node]:
        """The calls of the layer on symbolic tensors."""
        return list(self._nodes)

    @property
    def outbound_nodes(self) -> list[Node]:
        """The calls of other layers, and of functions, that read what this one returned, as far as anybody still has their outputs."""
        return [reader for node in self._nodes for reader in node.readers]

    _inbound_nodes, _outbound_nodes = inbound_nodes, outbound_nodes

    @property
    def input(self) -> Any:
        """What the layer was called on; of an `InputLayer` its tensor. Raises `AttributeError` unless it was called exactly once."""
        return _given_to(self._only_node())

    @property
    def output(self) -> Any:
        """What the layer returned. Raises `AttributeError` unless it was called exactly once."""
        return self._only_node().outputs

    def get_input_at(self, node_index: int) -> Any:
        """Return what the layer was called on the given time (from 0)."""
        return _given_to(self._nodes[node_index])

    def get_output_at(self, node_index: int) -> Any:
        """Return what the layer returned the given time (from 0)."""
        return self._nodes[node_index].outputs

    @property
    def input_shape(self) -> Any:
        """The shape of `input`, with `None` for unknown dimensions; a list for several."""
        return shapes_of(self.input)

    @property
    def output_shape(self) -> Any:
        """The shape of `output`, with `None` for unknown dimensions; a list for several."""
        return shapes_of(self.output)

    def get_input_shape_at(self, node_index: int) -> Any:
        """Return the shape of what the layer was called on the given time (from 0)."""
        return shapes_of(self.get_input_at(node_index))

    def get_output_shape_at(self, node_index: int) -> Any:
        """Return the shape of what the layer returned the given time (from 0)."""
        return shapes_of(self.get_output_at(node_index))

    def compute_output_shape(self, *input_shapes: Any, **named_shapes: Any) -> Any:
        """Return the shape of the outputs for inputs of these shapes, the batch included: a list of shapes for several.

        The layer is built for them if it is not built. Raises `ValueError` for shapes that it does not take.

        >>> from torchkeras_fn.layers import Conv2D
        >>> Conv2D(4, 3).compute_output_shape((None, 28, 28, 1))
        (None, 26, 26, 4)
        """
        known = list(self._nodes)
        try:
            shapes = [shape for shape in (*input_shapes, *named_shapes.values()) if shape is not None]
            return shapes_of(self._draw(*map(self._placeholders, shapes)))
        finally:
            self._nodes = known

    def __delattr__(self, name: str) -> None:
        """Refuse to take a weight out of the torch module that models run, as a parametrization of the layer itself would."""
        if name in self.__dict__.get("_parameters", ()) and self.__dict__.get("module") is not None:
            raise ValueError(
                f"{name!r} of {describe_operation(self)} is a weight of the torch module in its attribute `module`, which is what models "
                "run. Put a parametrization on that, as in weight_norm(layer.module)."
            )
        super().__delattr__(name)

    def _placeholders(self, shape: Any) -> Any:
        if isinstance(shape, dict):
            return {key: self._placeholders(part) for key, part in shape.items()}
        if isinstance(shape, Sequence) and shape and all(isinstance(part, Sequence) for part in shape):
            return [self._placeholders(part) for part in shape]
        return Node("input", (), {}, Spec.of(shape, self.dtype)).outputs

    def _only_node(self) -> Node:
        if len(self._nodes) != 1:
            advice = "Use get_input_at(index) and get_output_at(index)." if self._nodes else "Call it on a symbolic tensor first."
            times = f"was called {len(self._nodes)} times, so it has no single input or output"
            raise AttributeError(f"{describe_operation(self)} {times}. {advice}")
        return self._nodes[0]


def _given_to(node: Node) -> Any:
    return node.args[0] if node.args else node.outputs


def shapes_of(tensors: Any) -> Any:
    """Return the shape of a tensor with an unknown batch, or the list or dict of the shapes of several; `None` for what is no tensor.

    >>> shapes_of([torch.ones(2, 3), torch.ones(2, 4)])
    [(None, 3), (None, 4)]
    """
    if isinstance(tensors, (list, tuple)):
        return [shapes_of(tensor) for tensor in tensors]
    if isinstance(tensors, dict):
        return {key: shapes_of(tensor) for key, tensor in tensors.items()}
    if not isinstance(tensors, (KerasTensor, torch.Tensor)):
        return None
    shape: Shape = tuple(tensors.shape)
    return shape if isinstance(tensors, KerasTensor) else (None, *shape[1:])
