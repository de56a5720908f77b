"""`Drawn`: a layer with a graph inside. Its layers, its weights, and how it runs, is copied and is written down."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.basics import turns
from torchkeras_fn.engine.basics.modes import is_in_mode, mode_of, with_own_mode
from torchkeras_fn.engine.basics.structure import Structure, nested
from torchkeras_fn.engine.drawing.connections import shapes_of
from torchkeras_fn.engine.drawing.incoming import MASK, as_floats, as_tensors, carried_mask, carry_mask, drawing_again, masks_of
from torchkeras_fn.engine.drawing.inference import InferenceError, Spec
from torchkeras_fn.engine.graphs.graph import Graph, numbered
from torchkeras_fn.engine.graphs.in_parts import specs_of_outputs
from torchkeras_fn.engine.graphs.records import draw, from_plain, to_plain, write_records
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.layer_parts.additions import collecting, is_collecting
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.engine.layer_parts.weights import Weighted, weighted_in
from torchkeras_fn.engine.lowered.casting import cast_like_weights
from torchkeras_fn.engine.lowered.naming import module_keys
from torchkeras_fn.engine.lowering import GraphModule, lower, lower_for_training
from torchkeras_fn.engine.symbolic import KerasTensor, is_symbolic
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import custom_object_scope


class Drawn(Layer):
    """The part of a model that is a graph between symbolic inputs and outputs; there is none in a model with its own `forward`.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> model = Drawn([x], [Dense(2)(x)])
    >>> model.layer_name(model.layers[1])
    'dense_1'
    """

    builds_itself = True
    _sharding: Any = None
    """What keeps the weights in parts on several processes, if they are."""
    _input_structure: Structure | None = None
    """How the inputs are nested, where they are more than one tensor or a list; the graph's are listed."""
    _output_structure: Structure | None = None
    _running: Callable[..., Any] | None = None
    """What a call runs in place of the graph's inference view, while a step calls the model because of its hooks."""
    _is_seen = False
    """Whether hooks are registered on the model itself."""

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self._views: dict[str, Any] = {}
        self._graph: Graph | None = None
        if inputs is not None and outputs is not None:
            self._input_structure, entries = Structure.split(inputs)
            self._output_structure, ends = Structure.split(outputs)
            self._set_graph(Graph(entries, ends))

    def _set_graph(self, graph: Graph) -> None:
        """Take the graph, and own the torch modules of its layers under the layers' names."""
        self._graph = graph
        self._views = {}
        self._modules.clear()
        for layer, key in module_keys(graph).items():
            module = layer if layer.module is None or layer._is_called_in_models() or isinstance(layer, Drawn) else layer.module
            if not layer.is_inlined() or any(True for _ in layer.children()):
                self._modules[key] = module
        if graph.constant_keys:
            self._modules["constants"] = graph.constants
        self.built = True

    # ------------------------------------------------------------------ the graph

    @property
    def graph(self) -> Graph | None:
        """The drawn graph; `None` for a model with a `forward` of its own."""
        return self._graph

    def _drawn(self) -> Graph:
        graph = self.graph
        if graph is None:
            raise AttributeError(f"{type(self).__name__} was not drawn from inputs to outputs, so it has no graph to ask.")
        return graph

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic inputs, listed; those of a dict by its keys in their order."""
        return self._drawn().inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs, listed; those of a dict by its keys in their order."""
        return self._drawn().outputs

    @property
    def input(self) -> Any:
        """The symbolic input, the list of several, or the dict or nest of them that the model was made of."""
        is_one = self._input_structure is None and len(self.inputs) == 1
        return self.inputs[0] if is_one else nested(self._input_structure, self.inputs)

    @property
    def output(self) -> Any:
        """The symbolic output, the list of several, or the dict or nest of them that the model was made of."""
        is_one = self._output_structure is None and len(self.outputs) == 1
        return self.outputs[0] if is_one else nested(self._output_structure, self.outputs)

    @property
    def input_shape(self) -> Any:
        """The shape of the input, with `None` for unknown dimensions; for several the list of them, as in `inputs`."""
        return shapes_of(self.inputs[0] if len(self.inputs) == 1 else self.inputs)

    @property
    def output_shape(self) -> Any:
        """The shape of the output, with `None` for unknown dimensions; for several the list of them, as in `outputs`."""
        return shapes_of(self.outputs[0] if len(self.outputs) == 1 else self.outputs)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return self._drawn().input_names

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs: those of the layers that make them, numbered where they repeat."""
        return self._drawn().output_names

    def _input_labels(self) -> list[str]:
        """What data for the inputs is called: the keys of a dict, else the inputs' names."""
        return self.input_names if self._input_structure is None else self._labels(self._input_structure, self.inputs)

    def _output_labels(self) -> list[str]:
        """What targets and losses of the outputs are called: the keys of a dict, else the outputs' names."""
        return self.output_names if self._output_structure is None else self._labels(self._output_structure, self.outputs)

    def _labels(self, structure: Structure, tensors: Sequence[KerasTensor]) -> list[str]:
        return numbered(structure.labels([self._drawn().name_of(tensor) for tensor in tensors]))

    @property
    def layers(self) -> list[Layer]:
        """The layers, bottom-up and breadth first. What is taken out of the list stays in the model, as in Keras 2, but is not listed."""
        graph = self.graph
        if graph is not None:
            listed: list[Layer] = self._views.setdefault("layers", list(graph.layers))
            return listed
        return [child for child in self.children() if isinstance(child, Layer)]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name, or by its position in `layers`. Raises `ValueError` where there is none, or neither is given."""
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"There is no layer at index {index}: the model has {len(self.layers)} layers.")
            return self.layers[index]
        if name is None:
            raise ValueError("get_layer needs the name or the index of a layer.")
        for layer in self.layers:
            if self.layer_name(layer) == name:
                return layer
        raise ValueError(f"There is no layer {name!r}. The layers are {[self.layer_name(layer) for layer in self.layers]}.")

    def layer_name(self, layer: Layer) -> str:
        """Return the name of a layer in this model."""
        graph = self.graph
        return graph.names[layer] if graph is not None and layer in graph.names else layer.name

    def sublayers(self) -> Iterator[Any]:
        """Yield the model and every layer inside it."""
        graph = self.graph
        if graph is None:
            return super().sublayers()
        found: list[Any] = [self]
        plain: list[Layer] = []  # are walked through together
        for layer in graph.layers:
            if type(layer).sublayers is Weighted.sublayers:
                plain.append(layer)
            else:
                found += [*weighted_in(*plain), *layer.sublayers()]
                plain.clear()
        return iter([*found, *weighted_in(*plain)])

    def reset_states(self) -> None:
        """Set the states that stateful layers keep from batch to batch to 0, in this model and those inside it."""
        for layer in self.sublayers():
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_states"):
                layer.reset_states()

    def named_weights(self) -> list[NamedWeight]:
        """Return the weights of all layers, layer by layer, each once."""
        graph = self.graph
        if graph is None:
            return super().named_weights()
        found: dict[int, NamedWeight] = {}
        for layer in graph.layers:
            for weight in layer.named_weights():
                found.setdefault(id(weight.tensor), weight._replace(name=f"{graph.names[layer]}/{weight.name}"))
        for weight in super().named_weights() if graph.constant_keys else []:
            if weight.name.startswith("constants"):
                found.setdefault(id(weight.tensor), weight)
        return list(found.values())

    def full_name(self, weight: NamedWeight) -> str:
        """The name of a weight, which begins with that of its layer in the model."""
        return super().full_name(weight) if self.graph is None else Weighted.full_name(self, weight)

    # ------------------------------------------------------------------ running

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for real inputs: one argument, or a list or dict, or as many arguments as there are inputs."""
        if not self._views.get("adds_nothing") and not is_collecting():
            return self._run_and_gather(args, kwargs)
        graph = self.graph
        if graph is None or type(self).call is not Layer.call:
            return super().forward(*args, **kwargs)
        training = kwargs.pop("training", None)
        if training is not None and not (turns.is_in_own(bool(training)) and is_in_mode(self, bool(training))):
            with mode_of(self, training=bool(training)):
                return self.forward(*args, **kwargs)
        given = args[0] if len(args) == 1 and isinstance(args[0], (list, tuple, Mapping)) else args
        parts = self._ordered(graph, given)
        inputs = [
            part if type(part) is torch.Tensor and part.dtype is self.dtype else self._as_drawn(index, part)
            for index, part in enumerate(parts)
        ]
        if self._last_losses:
            self.forget_losses()
        if self._running is not None:
            return self._running(*inputs)
        is_all = self._views.get("outputs_are_all") and kwargs.get("mask") is None
        for part in parts if is_all else ():
            is_all = is_all and getattr(part, MASK, None) is None
        if not is_all and not self._outputs_are_all(parts, kwargs):
            return self._run_and_tell(inputs, self._masks_of(parts, kwargs))
        return self.lowered(*inputs) if self._sharding is None else self._sharding.call(self.lowered, *inputs)

    def _run_and_gather(self, args: Any, kwargs: Any) -> Any:
        """Run, and leave with the layers what they add, however often each is called."""
        if self.uses_graph():
            runs_layers = any(isinstance(part, Layer) for part in self.lowered.modules())
            self._views["adds_nothing"] = not (runs_layers or any(map(_tells_more, self.sublayers())))
        with collecting() as collected:
            outputs = self.forward(*args, **kwargs)
        collected.give_back(self)
        return outputs

    def call_drawn(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the graph, as the `call` of a subclass asks for with `super().call(inputs, training=training)`."""
        graph = self.graph
        if graph is None:
            return super().call_drawn(inputs, *args, **kwargs)
        training = kwargs.get("training", args[0] if args else None)
        given = inputs if isinstance(inputs, (list, tuple, Mapping)) else [inputs]
        parts = self._ordered(graph, given)
        tensors = [self._as_drawn(index, part) for index, part in enumerate(parts)]
        with contextlib.nullcontext() if training is None else mode_of(self, training=bool(training)):
            return self._run_and_tell(tensors, self._masks_of(parts, kwargs))

    def _masks_of(self, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The masks of the inputs, in their order: those given to the call, else those that the inputs carry."""
        mask = kwargs.get("mask")
        if mask is None:
            return [carried_mask(part) for part in inputs]
        return masks_of(self._ordered(self._drawn(), mask) if isinstance(mask, Mapping) else mask, len(inputs))

    def _outputs_are_all(self, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether a call has nothing to tell besides its outputs: neither masks nor terms of the loss, nor figures."""
        if any(mask is not None for mask in self._masks_of(inputs, kwargs)):
            return False
        if "outputs_are_all" not in self._views:
            self._views["outputs_are_all"] = not any(_tells_more(layer) for layer in self.sublayers()) or not self._tells_more()
        return bool(self._views["outputs_are_all"])

    def _tells_more(self) -> bool:
        """Whether the graph makes masks of its outputs, terms of the loss, or figures, of inputs without masks."""
        (end,) = (node for node in self._complete_view(()).graph.nodes if node.op == "output")
        _, masks, losses, metrics, _ = end.args[0]
        return bool(losses or metrics) or any(mask is not None for mask in masks)

    def _complete_view(self, masked: tuple[bool, ...]) -> GraphModule:
        """The view that returns all that a call has to tell, as a function of the inputs and of the masks that some of them come with."""
        views = self._views.setdefault("complete", {})
        key = masked, self.dtype  # a cast of the weights changes the casts before them
        if key not in views:
            graph = self._drawn()
            taken = [_takes_no_logits] * len(graph.outputs)
            view = lower_for_training(graph, taken, self._symbolic_losses, self._symbolic_metrics, type(self).__name__, masked).module
            cast_like_weights(view, self._drawn_types())
            views[key] = view
        found: GraphModule = views[key]
        return found

    def _drawn_types(self) -> set[torch.dtype]:
        """The types that layers and functions returned when the graph was drawn; weights of others were cast since."""
        if "types" not in self._views:
            self._views["types"] = {tensor.dtype for node in self._drawn().nodes if node.parents for tensor in node.tensors}
        types: set[torch.dtype] = self._views["types"]
        return types

    def _run_and_tell(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        """Run the graph; let the outputs carry their masks, and add what it adds to the loss and to the figures."""
        view = self._complete_view(tuple(mask is not None for mask in masks))
        given = [*inputs, *(mask.to(part.device) for part, mask in zip(inputs, masks, strict=True) if mask is not None)]
        told = view(*given) if self._sharding is None else self._sharding.call(view, *given)
        outputs, own, losses, metrics, _ = told
        carry_mask(outputs, list(own))
        if losses:
            for loss in losses:
                self.add_term(loss)
        for label, figure in metrics:
            self.add_metric(figure, label)
        structure = self._output_structure
        return structure.pack(outputs) if structure is not None else _one_or_list(outputs)

    def _as_drawn(self, index: int, value: Any) -> Any:
        """A value for an input as a tensor, in the float type that data for the input has."""
        tensor, wanted = as_tensors(value, self.dtype), self._input_dtype(index)
        return as_floats(tensor, wanted) if wanted.is_floating_point else tensor

    def _input_dtype(self, index: int) -> torch.dtype:
        return self._drawn().input_dtype(index)

    def _ordered(self, graph: Graph, inputs: Any) -> Sequence[Any]:
        """The inputs in the graph's order. Raises `ValueError` unless there is one for each of the graph's inputs."""
        if self._input_structure is not None:
            try:
                return self._input_structure.flat(inputs)
            except ValueError as error:
                raise ValueError(f"The inputs of {self.name}: {error}") from None
        names = graph.input_names
        if len(inputs) != len(names) or isinstance(inputs, Mapping) and set(inputs) != set(names):
            got = sorted(map(str, inputs)) if isinstance(inputs, Mapping) else len(inputs)
            raise ValueError(f"{self.name} expects {len(names)} inputs {names}, got {got}.")
        return [inputs[name] for name in names] if isinstance(inputs, Mapping) else inputs

    @property
    def lowered(self) -> GraphModule:
        """The inference view: a plain `torch.fx.GraphModule` over the same parameters."""
        if "inference" not in self._views:
            self._views["inference"] = lower(self._drawn(), type(self).__name__, self._input_labels(), self._output_structure)
        view: GraphModule = self._views["inference"]
        return view

    @property
    def code(self) -> str:
        """The lowered model as Python code.

        >>> from torchkeras_fn.layers import Dense, Input
        >>> x = Input(shape=(3,), name="x")
        >>> print(Drawn([x], [Dense(2)(x)]).code.strip())
        def forward(self, x):
            dense_1 = self.dense_1(x);  x = None
            return dense_1
        """
        return self.lowered.code

    def to_torch(self) -> nn.Module:
        """Return the inference view alone: a `torch.fx.GraphModule` with the layers' names, that calls no layer of this library.

        It is over the same weights, so that what either learns the other knows, but in a mode of its own, which is
        inference until `train()` is called; `copy.deepcopy` gives weights of its own too. Its pickle needs this library
        only where it holds a module that torch lacks, such as that of `BatchNormalization`; what `export` writes never
        does. For a model made by `from_module` it is that module. Raises `AttributeError` for a model with a `forward` of
        its own, which is a torch module already.

        >>> from torchkeras_fn.layers import Dropout, Input
        >>> x = Input(shape=(3,))
        >>> Drawn([x], [Dropout(0.5)(x)]).to_torch().training
        False
        """
        if self.graph is None and self.module is not None and type(self).call is Layer.call:
            return self.module
        return with_own_mode(self.lowered)

    def _draw(self, *args: Any, **kwargs: Any) -> Any:
        graph = self.graph
        is_nest = args and isinstance(args[0], Mapping if self._input_structure is None else (list, tuple, Mapping))
        if is_nest and graph is not None:
            args = (self._ordered(graph, args[0]), *args[1:])
        return super()._draw(*args, **kwargs)

    def specs_in_parts(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the graph makes of inputs that are known by their specs, told call by call; `None` where it is not all that runs."""
        given = args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args
        if not self.uses_graph() or len(given) != len(self.inputs) or not all(isinstance(part, Spec) for part in given):
            return None
        with contextlib.suppress(InferenceError):
            outputs = specs_of_outputs(self._drawn(), given)
            return self._output_structure.pack(outputs) if self._output_structure is not None else _one_or_list(outputs)
        return None

    def _is_called_in_models(self) -> bool:
        return not self.uses_graph()

    def _hooked(self) -> nn.Module:
        hooked = super()._hooked()
        self._is_seen = True
        for name in ("flat", "rows"):
            self._views.pop(name, None)
        return hooked

    def uses_graph(self) -> bool:
        """Return whether calling the model runs the drawn graph, and not a `call` or `forward` of its own."""
        return self.graph is not None and type(self).call is Layer.call and is_ours(type(self).forward)

    # ------------------------------------------------------------------ copies and configurations

    def __getstate__(self) -> dict[str, Any]:
        """A copy holds the graph as a flat list, and makes its own views."""
        graph = self._graph
        records = None if graph is None else write_records(graph)
        state = {**super().__getstate__(), "_views": {}, "_graph": None, "_records": records, "_symbolic_losses": ()}
        state["_symbolic_metrics"] = tuple((name, None) for name, _ in self._symbolic_metrics)
        if is_symbolic(self._arguments):
            state["_arguments"] = ((), {})
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Draw the graph of a copy anew."""
        records = state.pop("_records")
        super().__setstate__(state)
        if records is not None:
            with drawing_again():
                graph = draw(records)
            count = len(graph.terms) - len(self._symbolic_metrics)
            self._symbolic_losses = tuple(graph.terms[:count])
            labels = [name for name, _ in self._symbolic_metrics]
            self._symbolic_metrics = tuple(zip(labels, graph.terms[count:], strict=True))
            self._set_graph(graph)

    def get_config(self) -> dict[str, Any]:
        """Return the drawn graph as plain values, or the constructor's arguments of a model with a `forward` of its own."""
        if not is_ours(type(self).__init__) or self.graph is None:
            return super().get_config()
        structures = {"input_structure": self._input_structure, "output_structure": self._output_structure}
        nests = {name: structure.nest for name, structure in structures.items() if structure is not None}
        return {**self.own_config(), **to_plain(self.graph), **nests, "metrics": [name for name, _ in self._symbolic_metrics]}

    def own_config(self) -> dict[str, Any]:
        """Return what a configuration says of the model beside its layers."""
        return {"name": self.name, "named": self.given_name is not None, "trainable": self.trainable}

    def take_own_config(self, config: Mapping[str, Any]) -> None:
        """Take over what `own_config` returned."""
        name = config["name"]
        self.given_name, self.automatic_name = (name, None) if config.get("named", True) else (None, name)
        self._trainable = config["trainable"]

    def take_terms(self, terms: Sequence[KerasTensor], labels: Sequence[str]) -> None:
        """Take over the terms of a graph that was drawn anew: those of the loss, then one figure for each label."""
        count = len(terms) - len(labels)
        self.add_loss(terms[:count])
        for label, figure in zip(labels, terms[count:], strict=True):
            self.add_metric(figure, label)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new model, with new weights, of the graph that `get_config` described."""
        if "nodes" not in config:
            return super().from_config(config)
        with custom_object_scope(custom_objects or {}):
            graph = from_plain(config, layer_of)
        entries = Structure.read(config.get("input_structure"), len(graph.inputs))
        ends = Structure.read(config.get("output_structure"), len(graph.outputs))
        model = cls(inputs=nested(entries, graph.inputs), outputs=nested(ends, graph.outputs))
        model.take_terms(graph.terms, config.get("metrics", []))
        model.take_own_config(config)
        return model


def layer_of(entry: Mapping[str, Any]) -> Layer:
    """Return a new layer, or nested model, of the class and configuration in an entry."""
    layer: Layer = registry.find(entry["class_name"]).from_config(entry["config"])
    return layer


def _tells_more(layer: Layer) -> bool:
    """Whether a layer may have more to tell of a call than its outputs."""
    return layer.makes_mask or layer.activity_regularizer is not None or bool(layer._symbolic_losses or layer._symbolic_metrics)


def _takes_no_logits(kind: str) -> bool:
    return False


def _one_or_list(tensors: Sequence[Any]) -> Any:
    return list(tensors) if len(tensors) > 1 else tensors[0]
