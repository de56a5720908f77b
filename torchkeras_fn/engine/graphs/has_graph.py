"""`HasGraph`: a layer with a graph inside. Its layers and weights, and how it is copied and written down; `drawn.py` runs it."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn
from torch.utils._pytree import tree_leaves

from torchkeras_fn.engine.basics.structure import Structure, nested
from torchkeras_fn.engine.drawing.connections import shapes_of
from torchkeras_fn.engine.drawing.incoming import drawing_again
from torchkeras_fn.engine.graphs.graph import Graph, numbered
from torchkeras_fn.engine.graphs.naming import module_keys
from torchkeras_fn.engine.graphs.records import draw, from_plain, to_plain, write_records
from torchkeras_fn.engine.layer import Layer, registry
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.engine.layer_parts.weights import Weighted, weighted_in, weights_inside
from torchkeras_fn.engine.symbolic import KerasTensor, is_symbolic
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import custom_object_scope


class HasGraph(Layer):
    """The part of a model that knows its graph between symbolic inputs and outputs; there is none in a model with its own `forward`.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> model = HasGraph([x], [Dense(2)(x)])
    >>> model.layer_name(model.layers[1])
    'dense_1'
    """

    builds_itself = True
    _input_structure: Structure | None = None
    """How the inputs are nested, where they are more than one tensor or a list; the graph's are listed."""
    _output_structure: Structure | None = None
    _of_graph: dict[str, nn.Module] = {}
    """The modules that are owned for the sake of the graph, by the names they were given."""

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
        self._own(_modules_of(graph))
        self.built = True

    def _own(self, modules: dict[str, nn.Module]) -> None:
        """Own these modules in place of those owned so far, and what a user's class keeps in attributes as before."""
        beside = self._modules_beside() if self._is_users else {}
        self._modules.clear()
        self._modules.update(modules)
        self._of_graph = modules
        for name, module in beside.items():
            self._make_room(name, module)
            self._modules[name] = module

    def _modules_beside(self) -> dict[str, nn.Module]:
        """The modules that a user's class keeps in attributes of its own, whether or not the graph runs them too."""
        return {name: part for name, part in self._modules.items() if part is not None and self._of_graph.get(name) is not part}

    def _weighted_beside(self) -> dict[str, nn.Module]:
        """The modules that a user's class keeps and that its graph does not run, as those of a loss or a `train_step` of its own."""
        graph = self.graph
        if graph is None:
            return {}
        self.own_listed_modules()
        run = {id(part) for layer in graph.layers for part in (layer, layer.module)}
        return {name: part for name, part in self._modules_beside().items() if id(part) not in run}

    def _make_room(self, name: str, module: nn.Module) -> None:
        """Keep the module of a layer in the graph, under a name like its own, where a user's class takes its name for another layer."""
        held, now = self._of_graph.get(name), self._modules.get(name)
        if held is None or held not in (now, getattr(now, "module", None)) or held in (module, getattr(module, "module", None)):
            return
        free = f"{name}_"
        while free in self._modules:
            free += "_"
        self._modules[free] = self._of_graph[free] = held

    def _owns_what_lists_hold(self) -> bool:
        return super()._owns_what_lists_hold() or self._is_users and self.__dict__.get("_graph") is not None

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
        found += weighted_in(*plain)
        if self._is_users:
            found = list({id(layer): layer for layer in (*found, *weighted_in(*self._weighted_beside().values()))}.values())
        return iter(found)

    def reset_states(self) -> None:
        """Set the states that stateful layers keep from batch to batch to 0, in this model and those inside it."""
        for layer in self.sublayers():
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_states"):
                layer.reset_states()

    def named_weights(self) -> list[NamedWeight]:
        """Return the weights of all layers, layer by layer, each once, and those that a user's class keeps beside them."""
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
        for weight in [*self._own_weights(), *weights_inside(self._weighted_beside().items())] if self._is_users else []:
            found.setdefault(id(weight.tensor), weight)
        return list(found.values())

    def full_name(self, weight: NamedWeight) -> str:
        """The name of a weight, which begins with that of its layer in the model."""
        return super().full_name(weight) if self.graph is None else Weighted.full_name(self, weight)

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
        if self.graph is None or not self._is_made_of("inputs", "outputs"):
            return super().get_config()
        structures = {"input_structure": self._input_structure, "output_structure": self._output_structure}
        nests = {name: structure.nest for name, structure in structures.items() if structure is not None}
        return {**self.own_config(), **to_plain(self.graph), **nests, "metrics": [name for name, _ in self._symbolic_metrics]}

    def _is_made_of(self, *names: str) -> bool:
        """Whether the constructor is this library's, or one that was given the layers or tensors of these arguments, and nothing else."""
        if is_ours(type(self).__init__):
            return True
        args, kwargs = self._arguments
        parameters = list(inspect.signature(type(self).__init__).parameters.values())[1:]
        taken = {parameter.name for parameter in parameters if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)}
        given = any(isinstance(part, Layer) or is_symbolic(part) for part in tree_leaves((args, kwargs)))
        return given and taken | kwargs.keys() <= {"name", "trainable", *names}

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


def _modules_of(graph: Graph) -> dict[str, nn.Module]:
    """What a model owns of its graph: the torch module of each layer under the layer's name, or the layer where that is what runs."""
    modules: dict[str, nn.Module] = {}
    for layer, key in module_keys(graph).items():
        module = layer if layer.module is None or layer._is_called_in_models() or isinstance(layer, HasGraph) else layer.module
        if not layer.is_inlined() or any(True for _ in layer.children()):
            modules[key] = module
    if graph.constant_keys:
        modules["constants"] = graph.constants
    return modules


def layer_of(entry: Mapping[str, Any]) -> Layer:
    """Return a new layer, or nested model, of the class and configuration in an entry."""
    layer: Layer = registry.find(entry["class_name"]).from_config(entry["config"])
    return layer
