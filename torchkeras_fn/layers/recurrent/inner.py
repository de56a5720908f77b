"""What layers that hold other layers, such as cells, ask of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight


def core_of(layer: Any) -> Any:
    """Return the torch module that does a built-in layer's work; the layer itself where it has a `call`, or costs, of its own.

    >>> import torch
    >>> from torchkeras_fn.layers import Dense
    >>> layer = Dense(2)
    >>> _ = layer(torch.ones(1, 3))
    >>> core_of(layer)
    Linear(in_features=3, out_features=2, bias=True)
    """
    is_described = isinstance(layer, Layer) and type(layer).call is Layer.call and layer.module is not None
    return layer.module if is_described and layer.activity_regularizer is None else layer


def weights_of(layers: Mapping[str, Any]) -> list[NamedWeight]:
    """Return the weights of several layers, one after the other, the names with the keys before them.

    >>> from torchkeras_fn.layers import Dense
    >>> weights_of({"first": Dense(2)})
    []
    """
    found = []
    for name, layer in layers.items():
        if isinstance(layer, Layer):
            found += [weight._replace(name=f"{name}/{weight.name}" if name else weight.name) for weight in layer.named_weights()]
    return found


def sublayers_of(layer: Any) -> Iterator[Any]:
    """Yield a layer and every layer inside it; nothing for what is no layer.

    >>> list(sublayers_of(3))
    []
    """
    if isinstance(layer, Layer):
        yield from layer.sublayers()


def build_cell(cell: Any, input_shape: Sequence[int | None], constants: Sequence[Any] = ()) -> None:
    """Build a cell for the inputs of one step, if it is a layer; one that takes constants for a list with their shapes, too, as in Keras 2.

    >>> from torchkeras_fn.layers import Dense
    >>> build_cell(layer := Dense(2), (None, 3))
    >>> layer.built
    True
    """
    if isinstance(cell, Layer):
        cell._build([input_shape, *constants] if constants and (cell.call_takes("constants") or hasattr(cell, "cells")) else input_shape)


def check_cell(cell: Any) -> None:
    """Raise `ValueError` for what has no `call` or no `state_size`.

    >>> check_cell(3)
    Traceback (most recent call last):
        ...
    ValueError: A cell has call(inputs, states) and a state_size; 3 of type int has no call.
    """
    missing = [name for name in ("call", "state_size") if not hasattr(cell, name)]
    if missing:
        raise ValueError(f"A cell has call(inputs, states) and a state_size; {cell!r} of type {type(cell).__name__} has no {missing[0]}.")


def sizes_of(state_size: Any) -> list[int]:
    """Return a state size as a list with one number for each state.

    >>> sizes_of(3), sizes_of((3, 4))
    ([3], [3, 4])
    """
    return list(state_size) if isinstance(state_size, (list, tuple)) else [state_size]


def output_size_of(cell: Any) -> int:
    """Return the number of outputs of a cell: its `output_size`, or else the size of its first state.

    >>> from torchkeras_fn.layers import GRUCell
    >>> output_size_of(GRUCell(2))
    2
    """
    own = getattr(cell, "output_size", None)
    return int(own if own is not None else sizes_of(cell.state_size)[0])


def shape_of_sequence(input_shape: Any) -> Any:
    """Return the shape of the first input, after which there may be those of states.

    >>> shape_of_sequence([(None, 5, 3), (None, 4)])
    (None, 5, 3)
    """
    return input_shape[0] if isinstance(input_shape, list) else input_shape
