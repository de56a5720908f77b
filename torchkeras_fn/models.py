"""`Model`: a drawn graph, or a subclass with a `forward` or `call`, that can be trained. `Sequential`: a stack of layers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.additions import collecting
from torchkeras_fn.engine.data import Signature
from torchkeras_fn.engine.graph import Graph
from torchkeras_fn.engine.inference import mode_of
from torchkeras_fn.engine.layer import Layer, as_tensors
from torchkeras_fn.engine.lowering import GraphModule, TrainingOutputs, lower, lower_for_training, module_keys
from torchkeras_fn.engine.objective import Objective
from torchkeras_fn.engine.records import draw, from_plain, to_plain, write_records
from torchkeras_fn.engine.symbolic import KerasTensor, is_symbolic, symbolic_leaves
from torchkeras_fn.engine.trainer import Trainer
from torchkeras_fn.engine.weights import NamedWeight
from torchkeras_fn.layers import registry as layer_registry
from torchkeras_fn.layers.core import TorchModuleWrapper
from torchkeras_fn.layers.input import Input, InputLayer
from torchkeras_fn.metrics import Mean
from torchkeras_fn.optimizers import Optimizer
from torchkeras_fn.registry import custom_object_scope
from torchkeras_fn.utils.summary import print_summary


class Model(Trainer, Layer):
    """A model between symbolic `inputs` and `outputs` (a tensor or a list of each), or a base for one with its own `forward`.

    It is a torch module whose parameters are named after the layers, `dense_1.weight`, and a layer that can be called
    inside other models. Raises `ValueError`, naming the culprit, for a graph that does not hang together.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> model = Model(inputs=x, outputs=Dense(2)(x))
    >>> list(model.state_dict())
    ['dense_1.weight', 'dense_1.bias']
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self._views: dict[str, Any] = {}
        self._terms: list[Callable[[], Any]] = []
        self._runs_layers = True
        self._graph: Graph | None = None
        self._output_is_list = isinstance(outputs, (list, tuple)) and len(outputs) > 1
        if (inputs is None) != (outputs is None):
            raise ValueError(f"A model needs inputs and outputs, got inputs={inputs!r} and outputs={outputs!r}.")
        if inputs is not None:
            self._set_graph(Graph(_listed(inputs), _listed(outputs)))

    @classmethod
    def from_module(cls, module: nn.Module, name: str | None = None) -> "Model":
        """Return a model around a torch module that somebody else built; it shares the module's parameters and their names.

        >>> model = Model.from_module(nn.Linear(3, 1))
        >>> list(model.state_dict())
        ['weight', 'bias']
        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"from_module needs a torch.nn.Module, got {type(module).__name__}.")
        model = cls(name=name)
        model._adopt(module)
        model.built = True
        return model

    def _set_graph(self, graph: Graph) -> None:
        """Take the graph, and own the torch modules of its layers under the layers' names."""
        self._graph = graph
        self._views = {}
        self._modules.clear()
        for layer, key in module_keys(graph).items():
            module = layer if layer.module is None or isinstance(layer, Model) else layer.module
            if not layer.inline or any(True for _ in layer.children()):
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
        """The symbolic inputs."""
        return self._drawn().inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs."""
        return self._drawn().outputs

    @property
    def input(self) -> Any:
        """The symbolic input, or the list of several."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    @property
    def output(self) -> Any:
        """The symbolic output, or the list of several."""
        return self.outputs[0] if len(self.outputs) == 1 else self.outputs

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return self._drawn().input_names

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs: those of the layers that make them, numbered where they repeat."""
        return self._drawn().output_names

    @property
    def layers(self) -> list[Layer]:
        """The layers, bottom-up and breadth first."""
        graph = self.graph
        if graph is not None:
            return list(graph.layers)
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
            yield from super().sublayers()
            return
        yield self
        for layer in graph.layers:
            yield from layer.sublayers()

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

    def summary(self, line_length: int | None = None, positions: Any = None, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print the layers, their output shapes, numbers of parameters, and connections.

        `line_length` is in characters, `positions` are the ends of the columns as shares of it, and `print_fn` is
        called with each line instead of `print`. Raises `ValueError` for a model that is not built.
        """
        self._warn_of_changes()
        print_summary(self, line_length, positions, print_fn)

    # ------------------------------------------------------------------ running

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for real inputs: one argument, or a list or dict, or as many arguments as there are inputs."""
        graph = self.graph
        if graph is None or type(self).call is not Layer.call:
            return super().forward(*args, **kwargs)
        training = kwargs.pop("training", None)
        if training is not None:
            with mode_of(self, training=bool(training)):
                return self.forward(*args, **kwargs)
        given = args[0] if len(args) == 1 and isinstance(args[0], (list, tuple, Mapping)) else args
        return self.lowered(*(as_tensors(part, self.dtype) for part in self._ordered(graph, given)))

    def _ordered(self, graph: Graph, inputs: Any) -> Sequence[Any]:
        """The inputs in the graph's order. Raises `ValueError` unless there is one for each of the graph's inputs."""
        names = graph.input_names
        if len(inputs) != len(names) or isinstance(inputs, Mapping) and set(inputs) != set(names):
            got = sorted(map(str, inputs)) if isinstance(inputs, Mapping) else len(inputs)
            raise ValueError(f"{self.name} expects {len(names)} inputs {names}, got {got}.")
        return [inputs[name] for name in names] if isinstance(inputs, Mapping) else inputs

    @property
    def lowered(self) -> GraphModule:
        """The inference view: a plain `torch.fx.GraphModule` over the same parameters."""
        if "inference" not in self._views:
            self._views["inference"] = lower(self._drawn(), type(self).__name__)
        view: GraphModule = self._views["inference"]
        return view

    @property
    def code(self) -> str:
        """The lowered model as Python code.

        >>> from torchkeras_fn.layers import Dense, Input
        >>> x = Input(shape=(3,), name="x")
        >>> print(Model(x, Dense(2)(x)).code.strip())
        def forward(self, x):
            dense_1 = self.dense_1(x);  x = None
            return dense_1
        """
        return self.lowered.code

    def to_torch(self) -> GraphModule:
        """Return the inference view alone: a `torch.fx.GraphModule` that runs without this library."""
        return self.lowered

    def _draw(self, *args: Any, **kwargs: Any) -> Any:
        graph = self.graph
        if args and isinstance(args[0], Mapping) and graph is not None:
            args = (self._ordered(graph, args[0]), *args[1:])
        return super()._draw(*args, **kwargs)

    # ------------------------------------------------------------------ copies and configurations

    def __getstate__(self) -> dict[str, Any]:
        """A copy holds the graph as a flat list, and makes its own views."""
        graph = self._graph
        records = None if graph is None else write_records(graph)
        state = {**super().__getstate__(), "_views": {}, "_terms": [], "_graph": None, "_records": records, "_symbolic_losses": ()}
        state["_symbolic_metrics"] = tuple((name, None) for name, _ in self._symbolic_metrics)
        if is_symbolic(self._arguments):
            state["_arguments"] = ((), {})
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Draw the graph of a copy anew, and lower it where the original was ready to train."""
        records = state.pop("_records")
        super().__setstate__(state)
        if records is not None:
            graph = draw(records)
            count = len(graph.terms) - len(self._symbolic_metrics)
            self._symbolic_losses = tuple(graph.terms[:count])
            labels = [name for name, _ in self._symbolic_metrics]
            self._symbolic_metrics = tuple(zip(labels, graph.terms[count:], strict=True))
            self._set_graph(graph)
        if self._bound:
            self._ready_again()

    def _ready_again(self) -> None:
        """Lower the training view of a copy, and hold its own weights to their constraints."""
        if isinstance(self.optimizer, Optimizer):
            self.optimizer.constraints = self._constraints()
        self._prepare_views(self._compiled("training"))

    def get_config(self) -> dict[str, Any]:
        """Return the drawn graph as plain values, or the constructor's arguments of a model with a `forward` of its own."""
        if type(self).__init__ not in (Model.__init__, Sequential.__init__) or self.graph is None:
            return super().get_config()
        return {"name": self.name, "trainable": self.trainable, **to_plain(self.graph, lambda layer: layer.get_config())}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new model, with new weights, of the graph that `get_config` described."""
        if "nodes" not in config:
            return cls(**config)
        with custom_object_scope(custom_objects or {}):
            graph = from_plain(config, _make_layer)
        model = cls(inputs=graph.inputs, outputs=graph.outputs, name=config["name"])
        model.add_loss(graph.terms)
        model._trainable = config["trainable"]
        return model

    # ------------------------------------------------------------------ what the trainer asks

    def uses_graph(self) -> bool:
        """Return whether calling the model runs the drawn graph, and not a `call` or `forward` of its own."""
        return self.graph is not None and type(self).call is Layer.call and type(self).forward in (Model.forward, Sequential.forward)

    def _signature(self) -> Signature:
        signature = super()._signature()
        graph = self.graph
        if graph is not None:
            signature.input_names = graph.input_names
            signature.input_shapes = [tensor.shape for tensor in graph.inputs]
            signature.input_dtypes = [graph.input_dtype(index) for index in range(len(graph.inputs))]
            signature.output_names = graph.output_names
            signature.output_shapes = [tensor.shape for tensor in graph.outputs]
            signature.fed = {
                index: tensor.node.operation.feed
                for index, tensor in enumerate(graph.inputs)
                if getattr(tensor.node.operation, "tensor", None) is not None
            }
        return signature

    def _is_built(self) -> bool:
        if self.graph is not None:
            return True
        return super()._is_built() and all(layer.built for layer in self.sublayers() if layer is not self)

    def _trainable_parameters(self) -> list[nn.Parameter]:
        frozen = self._frozen_parameters()
        return [parameter for parameter in self.parameters() if parameter.requires_grad and id(parameter) not in frozen]

    def _constraints(self) -> list[Callable[[], None]]:
        return [_holder(weight) for weight in self.named_weights() if weight.options.constraint is not None]

    def _forward_function(self) -> Callable[..., Any]:
        if self.module is not None:
            return self.module.forward
        return self.call if type(self).call is not Layer.call else self.forward

    def _has_loss_terms(self) -> bool:
        layers = list(self.sublayers())
        added = any(layer._symbolic_losses or layer._loss_functions or layer.activity_regularizer for layer in layers)
        regularized = any(weight.options.regularizer is not None for weight in self.named_weights())
        return added or regularized or any(type(layer).call is not Layer.call and not layer.inline for layer in layers)

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Add terms to the loss: symbolic tensors of this model's graph, functions without arguments, or, inside `call`, tensors."""
        super().add_loss(losses, inputs)
        self._take_terms_in()

    def add_metric(self, value: Any, name: str | None = None, aggregation: str = "mean") -> None:
        """Add a figure to the logs: the mean over the batches of a symbolic tensor or, inside `call`, of a tensor."""
        super().add_metric(value, name, aggregation)
        self._take_terms_in()

    def _take_terms_in(self) -> None:
        """Let the graph reach to the tensors that were added."""
        graph = self.graph
        terms = [*self._symbolic_losses, *(tensor for _, tensor in self._symbolic_metrics)]
        if graph is not None and len(graph.terms) != len(terms):
            self._set_graph(Graph(graph.inputs, graph.outputs, terms))
        if self._bound:
            self._bound = {id(p) for p in self._collected} == {id(p) for p in self._trainable_parameters()}
            self._prepare_views(self._compiled("training"))

    def _prepare_views(self, objective: Objective) -> None:
        self._terms = [_cost(weight) for weight in self.named_weights() if weight.options.regularizer is not None]
        self._terms += [function for layer in self.sublayers() for function in layer._loss_functions]
        objective.added = {name: Mean(name) for name, _ in self._symbolic_metrics}
        if self.uses_graph():
            graph = self._drawn()
            own = [tensor for layer in graph.layers for tensor in layer._symbolic_losses]
            if own:
                graph = Graph(graph.inputs, graph.outputs, [*graph.terms, *own])
            accept = [output.accept_logits for output in objective.outputs]
            view = lower_for_training(graph, accept, [*self._symbolic_losses, *own], self._symbolic_metrics, type(self).__name__)
            self._views["training"] = view.module
            self._runs_layers = any(isinstance(module, Layer) for module in view.module.modules())

    def _training_outputs(self, x: Any) -> TrainingOutputs:
        view = self._views.get("training")
        if view is not None and not self._runs_layers:
            outputs = TrainingOutputs(*(view(x) if isinstance(x, torch.Tensor) else view(*x)))
        else:
            with collecting() as collected:
                if view is None:
                    outputs = super()._training_outputs(x)
                else:
                    outputs = TrainingOutputs(*(view(x) if isinstance(x, torch.Tensor) else view(*x)))
            outputs = outputs._replace(losses=(*outputs.losses, *collected.losses), metrics=(*outputs.metrics, *collected.metrics))
        if self._terms:
            outputs = outputs._replace(losses=(*outputs.losses, *(term() for term in self._terms)))
        return outputs

    def _call(self, x: Any) -> Any:
        if self.uses_graph():
            return self.lowered(x) if isinstance(x, torch.Tensor) else self.lowered(*x)
        return super()._call(x)

    def _output_shapes(self, arrays: Any) -> Any:
        graph = self.graph
        return [tensor.shape for tensor in graph.outputs] if graph is not None else super()._output_shapes(arrays)


def clone_model(model: Model) -> Any:
    """Return a model of the same layers with new weights.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> clone_model(Model(x, Dense(2)(x))).output_shape
    (None, 2)
    """
    return type(model).from_config(model.get_config())


def _make_layer(entry: Mapping[str, Any]) -> Layer:
    """A new layer, or nested model, out of its entry in a configuration."""
    models = {"Model": Model, "Functional": Model, "Sequential": Sequential}
    kind: Any = models.get(entry["class_name"]) or layer_registry.find(entry["class_name"])
    layer: Layer = kind.from_config(entry["config"])
    layer.given_name, layer.automatic_name = entry["name"], None
    return layer


class Sequential(Model):
    """Layers one after the other; torch modules in the list are wrapped.

    The input's shape comes from an `Input` in first place, from `input_shape` of the first layer, or from the first
    data. `add` and `pop` change the end of the stack.

    >>> from torchkeras_fn.layers import Dense
    >>> Sequential([Dense(4, activation="relu", input_shape=(3,)), Dense(1)]).output_shape
    (None, 1)
    """

    def __init__(self, layers: Sequence[Any] | None = None, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self._stack: list[Layer] = []
        self._tensors: list[KerasTensor] = []
        for layer in layers or []:
            self._put(layer)
        self._changed()

    def __getstate__(self) -> dict[str, Any]:
        """A copy draws its stack anew from the input's shape."""
        entry = self._tensors[0].node.operation if self._tensors else None
        return {**super().__getstate__(), "_tensors": [], "_records": None, "_entry": entry}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Draw the stack of a copy."""
        entry = state.pop("_entry")
        bound = state["_bound"]
        super().__setstate__({**state, "_bound": False})
        if entry is not None:
            self._tensors = [entry.open()]
            for layer in self._stack:
                self._tensors.append(_single(layer, layer(self._tensors[-1])))
            if self._stack:
                self._drawn()
        if bound:
            self._bound = True
            self._ready_again()

    def get_config(self) -> dict[str, Any]:
        """Return the layers' configurations, and the input's shape where it is known."""
        if type(self).__init__ is not Sequential.__init__:
            return super().get_config()
        entry = self._tensors[0].node.operation.get_config() if self._tensors else None
        names = [self.layer_name(layer) for layer in self._stack]
        layers = [
            {"class_name": type(layer).__name__, "name": name, "config": layer.get_config()}
            for layer, name in zip(self._stack, names, strict=True)
        ]
        return {"name": self.name, "trainable": self.trainable, "input": entry, "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new stack, with new weights, of the layers that `get_config` described."""
        with custom_object_scope(custom_objects or {}):
            layers = [_make_layer(entry) for entry in config["layers"]]
        entry = [InputLayer.from_config(config["input"])] if config.get("input") else []
        model = cls([*entry, *layers], name=config["name"])
        model._trainable = config["trainable"]
        return model

    def add(self, layer: Any) -> None:
        """Put a layer on top. Raises `TypeError` for what is no layer, and `ValueError` where it does not fit."""
        before = list(self._stack), list(self._tensors)
        self._put(layer)
        try:
            self._changed()
        except ValueError:
            self._stack, self._tensors = before
            self._changed()
            raise

    def _put(self, layer: Any) -> None:
        if isinstance(layer, KerasTensor):
            layer = layer.node.operation
        if isinstance(layer, nn.Module) and not isinstance(layer, Layer):
            layer = TorchModuleWrapper(layer)
        if not isinstance(layer, Layer):
            raise TypeError(f"A Sequential model is made of layers, got {layer!r} of type {type(layer).__name__}.")
        if isinstance(layer, InputLayer):
            if self._stack or self._tensors:
                raise ValueError("An Input can only come first in a Sequential model.")
            self._tensors = [layer.output]
            return
        if not self._stack and not self._tensors:
            inner = layer.graph if isinstance(layer, Model) else None
            shape = inner.inputs[0].shape if inner is not None else layer.batch_input_shape
            if shape is not None:
                self._tensors = [Input(batch_shape=shape, dtype=getattr(layer, "declared_dtype", None))]
        if self._tensors:
            self._tensors.append(_single(layer, layer(self._tensors[-1])))
        self._stack.append(layer)

    def pop(self) -> None:
        """Take the top layer off. Raises `TypeError` where there is none."""
        if not self._stack:
            raise TypeError("There is no layer to pop: the model is empty.")
        self._stack.pop()
        del self._tensors[len(self._stack) + 1 :]
        self._changed()

    def _changed(self) -> None:
        """Own the layers of the stack as it is now: under their names where it can be drawn."""
        self._graph = None
        self._views = {}
        self._modules.clear()
        self._bound = False
        for index, layer in enumerate(self._stack):
            self._modules[f"layer_{index}"] = layer
        _ = self.graph

    @property
    def graph(self) -> Graph | None:
        """The drawn graph; `None` as long as the input's shape is not known."""
        if self._graph is None and self._stack and len(self._tensors) == len(self._stack) + 1:
            self._set_graph(Graph([self._tensors[0]], [self._tensors[-1]]))
        return self._graph

    @property
    def layers(self) -> list[Layer]:
        """The layers from bottom to top, without the input."""
        return list(self._stack)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output for real inputs; the first ones fix the input's shape."""
        if self.graph is None:
            self._enter((None, *args[0].shape[1:]))
        return super().forward(*args, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape, the batch included."""
        if self.graph is None and input_shape and not isinstance(input_shape[0], (tuple, list)):
            self._enter(tuple(input_shape))

    def _draw(self, *args: Any, **kwargs: Any) -> Any:
        if self.graph is None:
            self._enter(symbolic_leaves(args)[0].shape)
        return super()._draw(*args, **kwargs)

    def _enter(self, batch_shape: Sequence[int | None]) -> None:
        """Draw the stack from an input of this shape."""
        if not self._stack:
            raise ValueError("This Sequential model has no layers yet. Add some first.")
        tensors = [Input(batch_shape=batch_shape)]
        for layer in self._stack:
            tensors.append(_single(layer, layer(tensors[-1])))
        self._tensors = tensors
        self._graph = None

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """Return the most probable class of each sample; 0 or 1 for an output of one unit."""
        probabilities = self.predict(x, batch_size=batch_size, verbose=verbose)
        return probabilities.argmax(-1) if probabilities.shape[-1] > 1 else (probabilities > 0.5).astype("int32")

    def predict_proba(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """Return what `predict` returns, under the name it has for classifiers."""
        return self.predict(x, batch_size=batch_size, verbose=verbose)


def _listed(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _single(layer: Layer, output: Any) -> KerasTensor:
    if not isinstance(output, KerasTensor):
        raise ValueError(f"Every layer of a Sequential model returns one tensor, but {layer.name} returned several.")
    return output


def _cost(weight: NamedWeight) -> Callable[[], torch.Tensor]:
    """Return the function that computes what a weight's regularizer asks for it."""

    def cost() -> torch.Tensor:
        tensor = weight.tensor if weight.axes is None else weight.tensor.permute(weight.axes)
        value: torch.Tensor = weight.options.regularizer(tensor)
        return value

    return cost


def _holder(weight: NamedWeight) -> Callable[[], None]:
    """Return the function that holds a weight to its constraint, on its device."""

    def apply() -> None:
        with torch.no_grad():
            weight.view.copy_(weight.options.constraint(weight.view))

    return apply


__all__ = ["Model", "Sequential"]
