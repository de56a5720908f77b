"""`Graph`: the part of the DAG between some inputs and some outputs, in order, with a name for every layer in it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from torchkeras_fn.engine.drawing.incoming import cast_inside
from torchkeras_fn.engine.graphs.mask_ways import mask_ways
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.symbolic import KerasTensor, Node, describe_operation, symbolic_leaves


class Graph:
    """What a model is made of.

    `nodes` are the calls in the order in which they run, `layers` the layers bottom-up and breadth first, `names` a
    unique name for each of them. `terms` are further tensors that training needs, such as those of `add_loss`. Raises
    `ValueError` for a non-symbolic input or output, an output that needs an `Input` which is not listed, and two layers
    given one name. An input that no output needs is taken and left unused, as in Keras 3. One that a call made is where the
    graph begins: an `InputLayer` stands for that call and what is in front of it.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> Graph([x], [Dense(2)(x)]).layer_names
    ['input_1', 'dense_1']
    """

    def __init__(self, inputs: Sequence[Any], outputs: Sequence[Any], terms: Sequence[KerasTensor] = ()):
        self.inputs = _symbolic(inputs, "input")
        self.outputs = _symbolic(outputs, "output")
        self.terms = list(terms)
        listed = [id(tensor) for tensor in self.inputs]
        for tensor in self.inputs:
            if listed.count(id(tensor)) > 1:
                raise ValueError(f"The input {tensor.name!r} is listed {listed.count(id(tensor))} times. List each input once.")
        self._entries = {id(tensor): _entry_at(tensor) for tensor in self.inputs}
        order, visited = self._walk([*self.outputs, *self.terms])
        depths, layer_depths = self._depths(order)
        self.nodes = sorted(order, key=lambda node: -depths[id(node)])
        self.layers = _layers_of(visited, layer_depths)
        self.names = self._name_layers()
        self.layer_names = [self.names[layer] for layer in self.layers]
        self.input_names = [self.name_of(tensor) for tensor in self.inputs]
        self.output_names = numbered([self.name_of(tensor) for tensor in self.outputs])
        self.constants, self.constant_keys = self._gather_constants()
        self._consumers: dict[int, list[tuple[Node, int]]] | None = None

    def maker(self, tensor: KerasTensor) -> Node:
        """Return the call that makes a tensor here: that of its `InputLayer` for an input, wherever in a drawing it was found."""
        return self._entries.get(id(tensor), tensor.node)

    def name_of(self, tensor: KerasTensor) -> str:
        """Return the name of the layer that makes the tensor, or of the function."""
        operation = self.maker(tensor).operation
        return self.names[operation] if operation in self.names else describe_operation(operation)

    def layers_of_outputs(self) -> list[Layer]:
        """Return the layers that the outputs are computed by, in the order in which Keras lists them: it draws no terms, and no sizes.

        Among `layers` are those too that only a term needs, or the size of a tensor, and what these wait for is further in front.
        """
        order, visited = self._walk(self.outputs, through_sizes=False)
        return _layers_of(visited, self._depths(order)[1])

    def calls_of(self, layer: Layer) -> list[Node]:
        """Return the calls of a layer that belong to this graph."""
        return [node for node in self.nodes if node.operation is layer]

    def takes_integers(self, tensor: KerasTensor) -> bool:
        """Return whether a layer reads the tensor as indices, here or in a nested model, so that integers stay integers."""
        if self._consumers is None:
            self._consumers = {}
            for node in self.nodes:
                for position, parent in enumerate(node.parents):
                    self._consumers.setdefault(id(parent), []).append((node, position))
        for node, position in self._consumers.get(id(tensor), []):
            inner = graph_of(node.operation)
            reads_indices = position == 0 and getattr(node.operation, "takes_integers", False)  # behind them are their weights
            if inner.takes_integers(inner.inputs[position]) if inner else reads_indices:
                return True
        return False

    def input_dtype(self, index: int) -> torch.dtype:
        """Return what data for an input is cast to: its dtype, but integers where it declared none and feeds an `Embedding`."""
        tensor = self.inputs[index]
        declared = getattr(self.maker(tensor).operation, "declared_dtype", tensor.dtype)
        if declared is None and self.takes_integers(tensor):
            return torch.int64
        return tensor.dtype

    def _walk(self, ends: Sequence[KerasTensor], through_sizes: bool = True) -> tuple[list[Node], list[Node]]:
        """Return the needed nodes, each after those it reads, and in the order of first visits from the ends."""
        done: set[int] = set()
        opened: set[int] = set()
        order: list[Node] = []
        visited: list[Node] = []
        for output in ends:
            stack: list[tuple[KerasTensor, bool]] = [(output, False)]
            while stack:
                tensor, leaving = stack.pop()
                node = self.maker(tensor)
                if leaving:
                    if id(node) not in done:
                        done.add(id(node))
                        order.append(node)
                    continue
                if id(node) in opened:
                    continue
                if not node.parents and id(tensor) not in self._entries:
                    raise ValueError(
                        f"The output {output.name!r} depends on {tensor.name!r}, which is not among the inputs "
                        f"{[self.maker(entry).operation.name for entry in self.inputs]}. Add it to the inputs."
                    )
                opened.add(id(node))
                visited.append(node)
                stack.append((tensor, True))
                read = symbolic_leaves((node.args, dict(sorted(node.kwargs.items()))))  # Keras walks through keywords by name
                stack.extend((parent, False) for parent in reversed(read) if through_sizes or parent.spec.number is None)
        unused = [entry for entry in self._entries.values() if id(entry) not in opened]
        return [*unused, *order], [*unused, *visited]

    def _depths(self, order: Sequence[Node]) -> tuple[dict[int, int], dict[int, int]]:
        """The longest way from each node, and from each layer, to an output. A layer called twice counts by its deepest call.

        As in Keras 3, the operations of a mask are on the way too, and casts that nobody asked for, and sizes of tensors, are not.
        """
        depths: dict[int, int] = {}
        layer_depths: dict[int, int] = {}
        ways = mask_ways(order, {id(entry) for entry in self._entries.values()})
        entries = {id(tensor.node): id(self.maker(tensor)) for tensor in self.inputs}
        for node in reversed(order):
            operation = id(node.operation)
            depth = max(depths.setdefault(id(node), 0), layer_depths.get(operation, 0) if isinstance(node.operation, Layer) else 0)
            depths[id(node)] = layer_depths[operation] = depth
            for parent in node.parents:
                source = id(self.maker(parent))
                depths[source] = max(depths.get(source, 0), depth + int(_is_step(node, parent)))
            for made_by, operations in ways.get(id(node), {}).items():
                source = entries.get(made_by, made_by)
                depths[source] = max(depths.get(source, 0), depth + 1 + operations)
        return depths, layer_depths

    def _gather_constants(self) -> tuple[nn.Module, dict[int, str]]:
        """Keep the tensors that were mixed into the calls: `x * weight` owns `constants.constant_1`, trained if a parameter.

        Any other is no weight: what draws the graph again has it, as in Keras, where it is a part of the configuration.
        """
        container, keys = nn.Module(), dict[int, str]()
        for node in self.nodes:
            for value in tree_leaves((node.args, node.kwargs)):
                if isinstance(value, torch.Tensor) and id(value) not in keys:
                    keys[id(value)] = key = f"constant_{len(keys) + 1}"
                    if isinstance(value, nn.Parameter):
                        container.register_parameter(key, value)
                    else:
                        container.register_buffer(key, value, persistent=False)
        if keys:  # `ops.ones(3)` is on the accelerator, if there is one, and weights are not until `compile`, or have left since
            home = next(filter(None, (layer._weight_device() for layer in self.layers)), torch.get_default_device())
            container.to(home)
        return container, keys

    def _name_layers(self) -> dict[Layer, str]:
        names: dict[Layer, str] = {}
        taken: dict[str, Layer] = {}
        for layer in self.layers:
            if layer.given_name is not None:
                if layer.given_name in taken:
                    raise ValueError(
                        f"Two layers are named {layer.given_name!r}: a {type(taken[layer.given_name]).__name__} and a "
                        f"{type(layer).__name__}. Names are unique within a model."
                    )
                names[layer] = layer.given_name
                taken[layer.given_name] = layer
        for layer in self.layers:
            if layer.automatic_name is not None and layer.given_name is None and layer.automatic_name not in taken:
                names[layer] = layer.automatic_name
                taken[layer.automatic_name] = layer
        numbers: Counter[str] = Counter()
        for layer in self.layers:
            if layer in names:
                continue
            prefix = layer.name_prefix
            name = None
            while name is None or name in taken:
                numbers[prefix] += 1
                name = f"{prefix}_{numbers[prefix]}"
            names[layer] = name
            taken[name] = layer
            layer.automatic_name = layer.automatic_name or name
        return names


def graph_of(model: Any) -> Graph | None:
    """Return the graph that a model was drawn with; `None` for what has none, or calls something else `graph`.

    >>> graph_of(nn.Linear(2, 1)) is None
    True
    """
    graph = getattr(model, "graph", None)
    return graph if isinstance(graph, Graph) else None


def _entry_at(tensor: KerasTensor) -> Node:
    """The call of the input layer that made the tensor, or of a new one that stands for whatever else did."""
    if not tensor.node.parents:
        return tensor.node
    entry: Node = registry.find("InputLayer")(batch_shape=tensor.shape, dtype=tensor.dtype).stand_for(tensor)
    return entry


def _is_step(node: Node, parent: KerasTensor) -> bool:
    """Whether Keras counts a call that reads `parent`: not the reading of a size, nor a cast by a layer, or to the type it has."""
    keeps_type = node.operation is torch.Tensor.to and node.tensors[0].dtype == parent.dtype
    return not (keeps_type or node.operation is cast_inside or parent.spec.number is not None)


def _layers_of(visited: Sequence[Node], depths: Mapping[int, int]) -> list[Layer]:
    """The layers among the nodes, the furthest from the outputs first, and those of one depth in the order of the first visit."""
    found = {id(node.operation): node.operation for node in visited if isinstance(node.operation, Layer)}
    return sorted(found.values(), key=lambda layer: -depths[id(layer)])


def _symbolic(tensors: Sequence[Any], what: str) -> list[KerasTensor]:
    for tensor in tensors:
        if not isinstance(tensor, KerasTensor):
            shown = f"{type(tensor).__name__} of shape {tuple(tensor.shape)}" if hasattr(tensor, "shape") else repr(tensor)
            raise ValueError(f"Every {what} of a model is a symbolic tensor, made by Input(...) or by calling layers; got {shown}.")
    if not tensors:
        raise ValueError(f"A model needs at least one {what}.")
    return list(tensors)


def numbered(names: Sequence[str]) -> list[str]:
    """Return names with a number behind those that repeat.

    >>> numbered(["a", "b", "b"])
    ['a', 'b', 'b_1']
    """
    found: list[str] = []
    for name in names:
        number, unique = 0, name
        while unique in found:
            number += 1
            unique = f"{name}_{number}"
        found.append(unique)
    return found
