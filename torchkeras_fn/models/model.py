"""`Model`: a drawn graph, or a subclass with a `forward` or `call`, that can be trained."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from torchkeras_fn.engine.basics.nested import map_only
from torchkeras_fn.engine.drawing.inference import infer
from torchkeras_fn.engine.drawing.spec import Spec
from torchkeras_fn.engine.layer import registry
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.engine.layer_parts.reserved_names import Yielding
from torchkeras_fn.engine.lowered.casting import cast_records
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.outputs.custom_metrics import metrics_in
from torchkeras_fn.engine.steps.forward import parameters_of
from torchkeras_fn.engine.symbolic import KerasTensor, is_symbolic
from torchkeras_fn.models.chosen import Chosen
from torchkeras_fn.models.drawn_trainer import DrawnTrainer
from torchkeras_fn.registry import custom_object_scope
from torchkeras_fn.saving.keras_files.reading import Reader
from torchkeras_fn.utils.summary import print_summary


class Model(DrawnTrainer):
    """A model between symbolic `inputs` and `outputs`, or a base for one with its own `forward`.

    Each is a tensor, a list of several, or a dict or nest of them. Data and what the model returns is nested likewise, and
    the keys of a dict name what belongs to an output: its loss, metrics, targets and figures in the logs.

    It is a torch module whose parameters are named after the layers, `dense_1.weight`, and a layer that can be called
    inside other models. Raises `ValueError`, naming the culprit, for a graph that does not hang together.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> model = Model(inputs=x, outputs=Dense(2)(x))
    >>> list(model.state_dict())
    ['dense_1.weight', 'dense_1.bias']
    >>> list(Model({"size": x}, {"price": Dense(1)(x)}).predict({"size": [[1.0, 2.0, 3.0]]}, verbose=0))
    ['price']
    """

    loss, loss_weights, weighted_metrics = Chosen(), Chosen(), Chosen()
    code = Yielding(Drawn.code)  # type: ignore[assignment]

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any):
        if (inputs is None) != (outputs is None):
            hint = " A torch module is trained by Model.from_module(module)." if isinstance(inputs, nn.Module) else ""
            raise ValueError(f"A model needs inputs and outputs, got inputs={inputs!r} and outputs={outputs!r}.{hint}")
        super().__init__(inputs, outputs, name, **kwargs)
        self._building = False
        self.called_with: Any = None
        if outputs is not None and not self._trainable:
            self.trainable = False  # for the layers inside, too

    @Yielding  # type: ignore[prop-decorator]
    @property
    def compiled(self) -> bool:
        """Whether `compile` was called, as the wrappers of scikit-learn's kind ask."""
        return self.objective is not None

    def frozen_with_it(self) -> list[NamedWeight]:
        """Return the weights of no layer: each layer of a drawn model was told, and one that is made trainable again learns elsewhere."""
        graph = self.graph
        if graph is None:
            return super().frozen_with_it()
        inside = {id(weight.tensor) for layer in graph.layers for weight in layer.named_weights()}
        return [weight for weight in self.named_weights() if id(weight.tensor) not in inside]

    def forget_views(self) -> None:
        """Lower the graph anew when it runs next, and get ready for it where that is training."""
        super().forget_views()
        self._bound = False

    def __str__(self) -> str:
        """The torch modules that the model is made of, as torch prints them."""
        return nn.Module.__repr__(self)

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
        model.wraps_module = model.built = True
        if "training" in parameters_of(module.forward):
            model.module_takes, model._tells_mode = frozenset({"training"}), True
        return model

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print the layers, their output shapes, numbers of parameters, and connections.

        `line_length` is in characters, `positions` are the ends of the columns as shares of it, and `print_fn` is
        called with each line instead of `print`. `expand_nested` also prints the layers of nested models, and
        `show_trainable` whether a layer is trained. Raises `ValueError` for a model that is not built.
        """
        self._warn_of_changes()
        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable)

    def build(self, input_shape: Any) -> nn.Module | None:
        """Create the weights of a model with its own `forward`, for inputs of this shape (or list of shapes), the batch included."""
        if self.graph is None and not self._building:
            shapes = input_shape if isinstance(input_shape[0], (list, tuple)) else [input_shape]
            specs = [Spec.of(shape, self.dtype) for shape in shapes]
            infer(self._call, (specs if len(specs) > 1 else specs[0],), {})
        return None

    def build_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return what `build` is given for a call with these arguments, and note the call for `export`."""
        named = {name: value for name, value in kwargs.items() if is_symbolic(value) or isinstance(value, torch.Tensor)}
        self.called_with = map_only((torch.Tensor, KerasTensor, PackedSequence), _spec, (args, named))
        return super().build_shape(*args, **kwargs)

    def _build(self, input_shape: Any) -> None:
        self._building = True  # from within a call, which goes on to make the weights itself
        try:
            super()._build(input_shape)
        finally:
            self._building = False

    # ------------------------------------------------------------------ copies and configurations

    def get_config(self) -> dict[str, Any]:
        """Return the drawn graph, or the constructor's arguments, or the torch module that the model was made around."""
        config = super().get_config()
        if self.graph is None and self.module is not None and type(self) is Model:
            return {**config, "module": self.module}
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new model, with new weights, of what `get_config` returned, here or in Keras 3."""
        if is_of_keras(config):
            with custom_object_scope(custom_objects or {}):
                return Reader().model({"class_name": "Functional" if "input_layers" in config else "Sequential", "config": config})
        if cls is Model and "module" in config:
            model = cls.from_module(config["module"], config.get("name"))
            model._trainable = config.get("trainable", True)
            return model
        return super().from_config(config, custom_objects)

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own loss terms. Raises `TypeError` for a model in parts on several processes."""
        if self._sharding is not None:
            self._sharding.__reduce__()
        types = [] if self.graph is None else self._signature().input_dtypes
        return {**super().__getstate__(), "_terms": [], "_input_types": types}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Draw the graph of a copy anew, and lower it where the original was ready to train."""
        types = state.pop("_input_types", ())
        if state["_records"] is not None:
            cast_records(state["_records"], types)
        super().__setstate__(state)
        if self._bound:
            self._ready_again()

    @property
    def metrics(self) -> list[Any]:
        """The metric objects: the mean of the loss, those that `compile` was given, and those in attributes of the model."""
        objective, own = self.objective, metrics_in(self)
        if objective is None:
            return own
        return [objective.mean_loss, *(metric for metric in objective.named_metrics().values() if not isinstance(metric, str)), *own]

    def reset_metrics(self) -> None:
        """Let all metrics begin anew."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the figures of all metrics so far, by their names."""
        figures = {} if self.objective is None else dict(self.objective.running)
        return figures | {metric.name: metric.result() for metric in metrics_in(self)}

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Add terms to the loss: symbolic tensors of this model's graph, functions without arguments, or, inside `call`, tensors."""
        drawn = self._symbolic_losses, self._loss_functions
        super().add_loss(losses, inputs)
        if drawn[0] is not self._symbolic_losses or drawn[1] is not self._loss_functions:  # what `call` adds is gathered as it runs
            self._take_terms_in()

    def add_metric(self, value: Any, name: str | None = None, aggregation: str = "mean") -> None:
        """Add a figure to the logs: the mean over the batches of a symbolic tensor or, inside `call`, of a tensor."""
        drawn = self._symbolic_metrics
        super().add_metric(value, name, aggregation)
        if drawn is not self._symbolic_metrics:
            self._take_terms_in()


def _spec(tensor: Any) -> Spec | None:
    if isinstance(tensor, PackedSequence):  # checks what it holds, so that it cannot hold these
        return None
    return Spec.of((None, *tensor.shape[1:]) if len(tensor.shape) else (), tensor.dtype)


def is_of_keras(config: Mapping[str, Any]) -> bool:
    """Return whether the configuration of a model is one that Keras 3 wrote.

    >>> is_of_keras({"layers": [{"class_name": "Dense", "registered_name": None, "config": {"units": 1}}]})
    True
    """
    layers = config.get("layers")
    return isinstance(layers, (list, tuple)) and any(isinstance(entry, Mapping) and "registered_name" in entry for entry in layers)


registry.register("Model", Model)
registry.register("Functional", Model)
