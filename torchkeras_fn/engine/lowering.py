"""From the DAG to a plain `torch.fx.GraphModule`. The only place that knows `torch.fx`.

One pass over the nodes writes the graph: a layer becomes a call of its torch module, a torch function a call of that
function, and what a layer does around its module (an activation, a permutation, a mask) the torch functions it is
made of. Nested models are written out in place, under their names.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx import GraphModule
from torch.fx.proxy import GraphAppendingTracer

from torchkeras_fn.engine.basics.modes import in_fixed_mode
from torchkeras_fn.engine.basics.nested import map_only
from torchkeras_fn.engine.basics.structure import Structure
from torchkeras_fn.engine.drawing.function_module import FunctionModule
from torchkeras_fn.engine.drawing.incoming import carried_mask, carrying, cast_inside, own_mask
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.graphs.naming import CONSTANTS, identifier, module_keys
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.lowered.custom_masks import carries_masks, outputs_with_masks
from torchkeras_fn.engine.lowered.layout import Spatial, settle_permutations
from torchkeras_fn.engine.symbolic import KerasTensor, Node, map_symbolic
from torchkeras_fn.origin import is_ours
from torchkeras_fn.portion import of_sum


class Lowered(NamedTuple):
    """A graph module, and for each output what stands behind it when it is given as logits: `'softmax'`, `'sigmoid'` or `None`.

    >>> Lowered._fields
    ('module', 'logits')
    """

    module: GraphModule
    logits: list[str | None]


def lower(graph: Graph, name: str = "Model", input_names: Sequence[str] | None = None, structure: Structure | None = None) -> GraphModule:
    """Return the inference view: the outputs (nested as `structure` says, else a list of several) as a function of the inputs.

    The inputs are the arguments of that function, called by `input_names`, or as in the graph.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> print(lower(Graph([x], [Dense(2, activation="relu")(x)])).code.strip())
    def forward(self, input_1):
        dense_1 = self.dense_1(input_1);  input_1 = None
        relu = torch.nn.functional.relu(dense_1, inplace = False);  dense_1 = None
        return relu
    """
    writer = _Writer()
    _, values = writer.write_model(graph, input_names)
    nodes = [value.node for value in values]
    outputs = structure.pack(nodes) if structure is not None else nodes if len(nodes) > 1 else nodes[0]
    return writer.finish(outputs, name)


def lower_for_training(
    graph: Graph,
    accept: Sequence[Callable[[str], bool]],
    losses: Sequence[KerasTensor] = (),
    metrics: Sequence[tuple[str, KerasTensor]] = (),
    name: str = "Model",
    masked: Sequence[bool] = (),
) -> Lowered:
    """Return the training view: predictions, masks, loss terms and figures, in the order of `TrainingOutputs`.

    An output that ends in a softmax over the last axis or a sigmoid is given as the logits behind it where `accept`,
    one function for each output, takes that kind: `'softmax'` or `'sigmoid'`. `losses` and `metrics` are tensors of the graph.
    `masked` says which of the inputs come with a mask: those are further arguments, behind the inputs.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> lower_for_training(Graph([x], [Dense(2, activation="softmax")(x)]), [lambda kind: True]).logits
    ['softmax']
    """
    writer = _Writer()
    scope, values = writer.write_model(graph, masked=masked)
    predictions, kinds = [], []
    for tensor, value, accepted in zip(graph.outputs, values, accept, strict=True):
        logits, kind = writer.logits_behind(value.node, tensor.ndim)
        taken = kind is not None and accepted(kind)
        predictions.append(logits if taken else value.node)
        kinds.append(kind if taken else None)
    masks = tuple(value.mask for value in values)
    terms = (*writer.losses, *(scope.values[id(tensor)].node for tensor in losses))
    figures = tuple((label, scope.values[id(tensor)].node) for label, tensor in metrics)
    return Lowered(writer.finish((tuple(predictions), masks, terms, figures, None), name), kinds)


@dataclass
class _Value:
    """A written tensor and its mask."""

    node: Any
    mask: fx.Node | None = None


@dataclass
class _Scope:
    """A graph being written: the values of its tensors, and where its modules are found."""

    graph: Graph
    prefix: str = ""
    training: bool | None = None
    """The mode that the call of a nested model fixed, as in `base(x, training=False)`."""
    values: dict[int, _Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = module_keys(self.graph)

    def target(self, layer: Layer) -> str:
        return self.prefix + self.keys[layer]


_MODE_NAMES = {None: "either", True: "training", False: "inference"}


def is_nested(operation: Any) -> bool:
    """Return whether the operation is a model whose graph is written out in place: one without a `call` or `forward` of its own.

    >>> is_nested(torch.cat)
    False
    """
    uses_graph = getattr(operation, "uses_graph", None)
    return uses_graph is not None and bool(uses_graph())


def _makes_no_mask(layer: Layer, inputs: Any, mask: Any) -> bool:
    """Whether a user's `compute_mask` returns `None` whatever comes, as it does when it is run on proxies, apart from the graph."""
    apart = fx.Graph()
    tracer = GraphAppendingTracer(apart)

    def stand_in(value: Any) -> Any:
        return fx.node.map_aggregate(value, lambda a: fx.Proxy(apart.placeholder("tensor"), tracer) if isinstance(a, fx.Node) else a)  # type: ignore[arg-type, return-value]

    try:
        made = layer.compute_mask(stand_in(inputs), stand_in(mask))
    except Exception:  # it needs tensors, and what it makes of them is seen when it runs
        return False
    return all(part is None for part in made) if isinstance(made, (list, tuple)) else made is None


class _Writer:
    def __init__(self) -> None:
        self.fx = fx.Graph()
        self.tracer = GraphAppendingTracer(self.fx)
        self.modules: dict[str, Any] = {}
        self.containers: dict[str, nn.Module] = {}
        self.modes: dict[str, bool | None] = {}
        self.losses: list[fx.Node] = []

    # ------------------------------------------------------------------ graphs

    def write_model(
        self, graph: Graph, input_names: Sequence[str] | None = None, masked: Sequence[bool] = ()
    ) -> tuple[_Scope, list[_Value]]:
        scope = _Scope(graph)
        names: list[str] = []
        for name in map(identifier, input_names or graph.input_names):
            while name in names:
                name += "_"
            names.append(name)
        values = [_Value(self.fx.placeholder(name)) for name in names]
        for value, name, is_masked in zip(values, names, masked, strict=False):
            if is_masked:
                value.mask = self.fx.placeholder(f"mask_of_{name}")
        return scope, self.write_graph(scope, values)

    def write_graph(self, scope: _Scope, inputs: Sequence[_Value]) -> list[_Value]:
        graph = scope.graph
        for tensor, value in zip(graph.inputs, inputs, strict=True):
            scope.values[id(tensor)] = value
            _note_shape(value.node, tensor)
        for node in graph.nodes:
            if node.parents:
                self.write_node(scope, node)
        return [scope.values[id(tensor)] for tensor in graph.outputs]

    def write_node(self, scope: _Scope, node: Node) -> None:
        inputs = [scope.values[id(parent)] for parent in node.parents]
        operation = node.operation
        if is_nested(operation):
            self.write_nested(scope, node, inputs)
            return
        read = self.read_with_mask if carries_masks(operation) else self.read
        args, kwargs = map_symbolic(lambda tensor: read(scope, node, tensor), (node.args, node.kwargs))
        args, kwargs = map_only(torch.Tensor, lambda tensor: self.constant(scope, tensor), (args, kwargs))
        if operation is cast_inside:
            result, mask = self.fx.call_method("to", args, kwargs), inputs[0].mask
        elif not isinstance(operation, Layer):
            result, mask = self.write_function(operation, args, kwargs), None
        else:
            each = [scope.values[id(part)].mask if isinstance(part, KerasTensor) else None for part in node.args]
            result, mask = self.write_layer(scope, operation, args, kwargs, inputs, each)
            if read == self.read_with_mask:
                mask = self.carried_masks(node, result, inputs)
            if operation.activity_regularizer is not None:
                self.write_penalties(scope.target(operation), operation.activity_regularizer, [self.pick(t, result) for t in node.tensors])
        for index, tensor in enumerate(node.tensors):
            value = scope.values.setdefault(id(tensor), _Value(self.pick(tensor, result), self.mask_of(index, mask)))
            _note_shape(value.node, tensor)

    def mask_of(self, index: int, mask: Any) -> fx.Node | None:
        """The mask of one output: what a layer of the user's computes may be a list, which is known when it runs."""
        if isinstance(mask, fx.Node) and mask.op == "call_method" and mask.target == "compute_mask":
            return self.fx.call_function(own_mask, (mask, index))
        found: fx.Node | None = own_mask(mask, index)
        return found

    def carried_masks(self, node: Node, result: Any, inputs: Sequence[_Value]) -> Any:
        """The masks that the outputs of a user's layer carry, each known when it runs, and `None` for outputs without one."""
        masked = {id(parent) for parent, value in zip(node.parents, inputs, strict=True) if value.mask is not None}
        found = outputs_with_masks(node, masked)
        return [self.fx.call_function(carried_mask, (self.pick(t, result),)) if id(t) in found else None for t in node.tensors]

    def write_nested(self, scope: _Scope, node: Node, inputs: Sequence[_Value]) -> None:
        model = node.operation
        inner = _Scope(model.graph, scope.target(model) + ".", node.kwargs.get("training", scope.training))
        count = len(model.graph.inputs)
        masks = [value.mask for value in inputs[:count]]
        if node.kwargs.get("mask") is not None:
            passed = map_symbolic(lambda tensor: scope.values[id(tensor)].node, node.kwargs["mask"])
            passed = map_only(torch.Tensor, lambda tensor: self.constant(scope, tensor), passed)
            masks = list(passed) if isinstance(passed, (list, tuple)) else [passed] * count
        given = [
            _Value(self.enter(scope, tensor, inner.graph.input_dtype(index)), mask)
            for index, (tensor, mask) in enumerate(zip(node.parents[:count], masks, strict=True))
        ]
        for tensor, value in zip(node.tensors, self.write_graph(inner, given), strict=True):
            scope.values.setdefault(id(tensor), value)

    def read(self, scope: _Scope, node: Node, tensor: KerasTensor) -> fx.Node:
        """The value of a tensor; cast where it is an input of indices and the reader expects floats."""
        value: fx.Node = scope.values[id(tensor)].node
        is_entry = isinstance(value, fx.Node) and value.op == "placeholder"
        reads_indices = getattr(node.operation, "takes_integers", False)
        if is_entry and not reads_indices and scope.graph.takes_integers(tensor) and tensor.dtype.is_floating_point:
            return self.fx.call_method("to", (value, tensor.dtype))
        return value

    def read_with_mask(self, scope: _Scope, node: Node, tensor: KerasTensor) -> fx.Node:
        """The value of a tensor, that carries its mask to the layers which the reader calls by hand."""
        value, mask = self.read(scope, node, tensor), scope.values[id(tensor)].mask
        return value if mask is None else self.fx.call_function(carrying, (value, mask))

    def enter(self, scope: _Scope, tensor: KerasTensor, wanted: torch.dtype) -> fx.Node:
        """The value of a tensor as the input of a nested model; cast where it is of another type than the floats that the model expects."""
        value: fx.Node = scope.values[id(tensor)].node
        is_input = any(tensor is entry for entry in scope.graph.inputs)
        is_other = tensor.dtype != wanted or is_input and scope.graph.takes_integers(tensor)
        if is_other and wanted.is_floating_point and not tensor.dtype.is_complex:
            return self.fx.call_method("to", (value, wanted))
        return value

    def pick(self, tensor: KerasTensor, result: Any) -> fx.Node:
        def item(whole: Any, key: Any) -> Any:
            return self.fx.call_function(operator.getitem, (whole, key)) if isinstance(whole, fx.Node) else whole[key]

        picked: fx.Node = tensor.pick(result, item)
        return picked

    # ------------------------------------------------------------------ calls

    def write_layer(
        self, scope: _Scope, layer: Layer, args: Any, kwargs: Any, inputs: Sequence[_Value], masks: Sequence[Any]
    ) -> tuple[Any, Any]:
        target = scope.target(layer)
        given_masks = [value.mask for value in inputs]
        mask: Any = (given_masks if isinstance(args[0] if args else None, (list, tuple)) else given_masks[0]) if given_masks else None
        has_mask = any(part is not None for part in given_masks)
        if has_mask:
            kwargs = {**layer.mask_arguments(mask, masks), **kwargs}
        if kwargs.get("mask") is not None:
            mask, has_mask = kwargs["mask"], True
        mode = kwargs.get("training", scope.training)
        kwargs = {name: value for name, value in kwargs.items() if name != "training"}
        if mode is not None and layer.call_takes("training"):
            kwargs["training"] = mode
        if type(layer).call is Layer.call and is_ours(type(layer).forward):
            result = self.write_described(layer, target, mode, args, kwargs)
        elif layer.is_inlined():
            result = self.through(layer.call, *args, **kwargs)
        else:
            self.modules[target] = layer
            result = self.fx.call_module(target, args, kwargs)
        return result, self.write_mask(layer, target, args[0] if args else None, mask, has_mask)

    def write_described(self, layer: Layer, target: str, mode: bool | None, args: Any, kwargs: Any) -> Any:
        handed = (self.through(layer.prepare, args[0]), *args[1:]) if args else ()  # a torch module may take all by name
        outputs = handed[0] if handed else None
        if layer.module is not None:
            called = target if self.modes.setdefault(target, mode) == mode else f"{target}_{_MODE_NAMES[mode]}"
            self.modules[called] = layer.module if mode is None else in_fixed_mode(layer.module, bool(mode))
            outputs = self.fx.call_module(called, handed, kwargs)
        if not isinstance(layer.activation, nn.Module) or not layer.activates_outputs:
            return self.through(layer.finish, outputs)
        if isinstance(layer, Spatial):
            outputs = self.through(layer.restore, outputs)
        self.modules[f"{target}.activation"] = layer.activation
        return self.fx.call_module(f"{target}.activation", (outputs,))

    def write_mask(self, layer: Layer, target: str, inputs: Any, mask: Any, has_mask: bool) -> Any:
        creates = type(layer).compute_mask is not Layer.compute_mask
        if not creates:
            return mask if has_mask and layer.supports_masking else None
        if is_ours(type(layer).compute_mask):
            return self.through(layer.compute_mask, inputs, mask)
        if _makes_no_mask(layer, inputs, mask):
            return None
        called = target if self.modules.get(target, layer) is layer else f"{target}_masking"  # there lies what the layer is made of
        self.modules[called] = layer
        return self.fx.call_method("compute_mask", (self.fx.get_attr(called), inputs, mask))

    def write_penalties(self, target: str, regularizer: Callable[..., Any], outputs: Sequence[fx.Node]) -> None:
        """Write what a regularizer asks for outputs as calls of it, for a user may set its factors between two epochs."""
        called = f"{target}_activity_regularizer"
        self.modules.setdefault(called, FunctionModule(regularizer))
        for output in outputs:
            self.losses.append(self.fx.call_function(of_sum, (self.fx.call_module(called, (output,)),)))

    def constant(self, scope: _Scope, tensor: torch.Tensor) -> fx.Node:
        self.containers[f"{scope.prefix}{CONSTANTS}"] = scope.graph.constants
        return self.fx.get_attr(f"{scope.prefix}{CONSTANTS}.{scope.graph.constant_keys[id(tensor)]}")

    def write_function(self, function: Any, args: Any, kwargs: Any) -> Any:
        name = getattr(function, "__name__", "")
        if getattr(torch.Tensor, name, None) is function:
            return self.fx.call_method(name, args, kwargs)
        return self.fx.call_function(function, args, kwargs)

    def through(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Write the torch functions that `function` is made of, by running it on proxies."""
        proxies, named = fx.node.map_aggregate((args, kwargs), lambda a: fx.Proxy(a, self.tracer) if isinstance(a, fx.Node) else a)  # type: ignore[arg-type, return-value, misc]
        return fx.node.map_aggregate(function(*proxies, **named), lambda a: a.node if isinstance(a, fx.Proxy) else a)  # type: ignore[arg-type]

    # ------------------------------------------------------------------ ends

    def logits_behind(self, node: Any, rank: int) -> tuple[Any, str | None]:
        """The logits of which the node is the softmax over the last axis, or the sigmoid; the node itself where it is neither."""
        last = (-1, rank - 1)
        if not isinstance(node, fx.Node):
            return node, None
        kind = None
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            if isinstance(module, nn.Softmax) and module.dim in last:
                kind = "softmax"
            elif isinstance(module, nn.Sigmoid):
                kind = "sigmoid"
        elif node.target in (torch.sigmoid, F.sigmoid, "sigmoid"):
            kind = "sigmoid"
        elif node.target in (torch.softmax, F.softmax, "softmax"):
            axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
            kind = "softmax" if axis in last and node.kwargs.get("dtype") is None else None
        return (node.args[0], kind) if kind else (node, None)

    def finish(self, outputs: Any, name: str) -> GraphModule:
        self.fx.output(outputs)
        settle_permutations(self.fx, self.modules.get)
        self.fx.eliminate_dead_code(_has_effects)  # before there is a module, which would be written out twice
        root: dict[str, Any] = {}
        for node in self.fx.nodes:
            if node.op in ("call_module", "get_attr"):
                container, _, key = str(node.target).rpartition(".")
                kept = self.modules.get(str(node.target))
                root[str(node.target)] = kept if kept is not None else getattr(self.containers[container], key)
        module = GraphModule(root, self.fx, class_name=identifier(name))
        for target, container_module in self.containers.items():
            if any(name.startswith(f"{target}.") for name in root):
                module.set_submodule(target, container_module)
        return module


def _has_effects(node: fx.Node) -> bool:
    """Whether a written call does more than to make what is used; a module is taken to change nothing outside of itself."""
    return node.op != "call_module" and node.is_impure()


def _note_shape(node: Any, tensor: KerasTensor) -> None:
    """Let a written node tell its shape, in which what is not known reads `None`."""
    if isinstance(node, fx.Node):
        node.meta.setdefault("shape", tensor.shape)
