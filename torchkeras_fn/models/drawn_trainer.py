"""`DrawnTrainer`: what a trainer asks of a model that may have a graph: its views, its weights, and what it adds to the loss."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn import losses
from torchkeras_fn.engine.basics.structure import listed, put_on
from torchkeras_fn.engine.data import Signature
from torchkeras_fn.engine.device import first_parameter
from torchkeras_fn.engine.drawing.incoming import carried_mask
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.additions import collecting
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.engine.lowered.by_hand import by_hand
from torchkeras_fn.engine.lowered.casting import cast_like_weights
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.lowered.flat import Flat
from torchkeras_fn.engine.lowered.hooked_view import HookedView
from torchkeras_fn.engine.lowered.rowwise import rows_at_once
from torchkeras_fn.engine.lowered.training_outputs import TrainingOutputs, as_outputs
from torchkeras_fn.engine.lowering import GraphModule, lower_for_training
from torchkeras_fn.engine.objective import Objective
from torchkeras_fn.engine.steps.precision import in_float32
from torchkeras_fn.engine.trainer import Trainer
from torchkeras_fn.metrics import Mean
from torchkeras_fn.origin import is_ours
from torchkeras_fn.shards import gathered, outside_inference


class DrawnTrainer(Trainer, Drawn):
    """A trainer of the graph that it has inside, where it has one. `Model` is what users see of it.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> DrawnTrainer([x], [Dense(2)(x)]).predict(np.zeros((4, 3)), verbose=0).shape
    (4, 2)
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any):
        super().__init__(inputs, outputs, name, **kwargs)
        self._terms: list[Callable[[], Any]] = []
        self._adds_terms = False
        self._runs_layers = True

    def _signature(self) -> Signature:
        signature = super()._signature()
        graph = self.graph
        if graph is not None:
            drawn = self._views.get("signature")
            if drawn is None:
                drawn = self._views["signature"] = _signature_of(self, graph)
            signature.__dict__.update(drawn)
            types = self._views.get("types") or self._drawn_types()
            if signature.float_dtype not in types and first_parameter(self) is not None:  # the model was cast, as by .double()
                signature.input_dtypes = [signature.float_dtype if dtype.is_floating_point else dtype for dtype in signature.input_dtypes]
        elif first_parameter(self) is None:  # it may have been cast before its weights are made
            signature.float_dtype = self.dtype
        return signature

    def _input_dtype(self, index: int) -> torch.dtype:
        return self._signature().input_dtypes[index]

    def _is_built(self) -> bool:
        if self.graph is not None:
            return True
        self.own_listed_modules()
        return super()._is_built() and all(layer.built for layer in self.sublayers() if layer is not self)

    def _trainable_parameters(self) -> list[nn.Parameter]:
        frozen = self._frozen_parameters()
        return [parameter for parameter in super()._trainable_parameters() if id(parameter) not in frozen]

    def _constraints(self) -> list[Callable[[], None]]:
        frozen = self._frozen_parameters()
        named = [weight for weight in self.named_weights() if id(weight.tensor) not in frozen]
        return [_holder(weight) for weight in named if weight.options.constraint is not None]

    def _forward_function(self) -> Callable[..., Any]:
        if self.module is not None:
            return self.module.forward
        return self.call if type(self).call is not Layer.call else self.forward

    def _names_are_known(self) -> bool:
        """A layer of the user's may call `add_metric` when it runs."""
        if "all_ours" not in self._views or self.graph is None:
            self._views["all_ours"] = all(is_ours(type(layer)) for layer in self.sublayers())
        return super()._names_are_known() and bool(self._views["all_ours"])

    def _weight_terms(self) -> list[Any]:
        if self._sharding is None:
            return [term() for term in self._terms]
        with outside_inference():
            return [gathered(term()) for term in self._terms]

    def _added_terms(self) -> list[torch.Tensor]:
        return [term for layer in self.sublayers() for term in layer._last_losses]

    def _added_figures(self) -> list[tuple[str, torch.Tensor]]:
        return [figure for layer in self.sublayers() for figure in layer._last_metrics]

    def _call_that_adds_terms(self) -> Callable[[Any], Any] | None:
        return self if (self._adds_terms or self._runs_layers) and self.uses_graph() else None

    def _forget_added_terms(self) -> None:
        for layer in self.sublayers():
            layer.forget_losses()

    def _has_loss_terms(self) -> bool:
        layers = list(self.sublayers())
        added = any(layer._symbolic_losses or layer._loss_functions or layer.activity_regularizer for layer in layers)
        regularized = any(weight.options.regularizer is not None for weight in self.named_weights())
        return added or regularized or any(type(layer).call is not Layer.call and not layer.is_inlined() for layer in layers)

    def _take_terms_in(self) -> None:
        """Let the graph reach to the tensors that were added."""
        graph = self.graph
        terms = [*self._symbolic_losses, *(tensor for _, tensor in self._symbolic_metrics)]
        if graph is not None and len(graph.terms) != len(terms):
            self._set_graph(Graph(graph.inputs, graph.outputs, terms))
        if self._bound:
            self._bound = {id(p) for p in self._collected} == {id(p) for p in self._trainable_parameters()}
            self._prepare_views(self._compiled("training"))

    @property
    def lowered(self) -> GraphModule:
        """The inference view: a plain `torch.fx.GraphModule` over the same parameters."""
        is_new = "inference" not in self._views
        view = super().lowered
        if is_new:
            cast_like_weights(view, self._drawn_types())
        return view

    def _take_layers_along(self, fn: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super()._take_layers_along(fn)
        for name in ("flat", "rows"):  # which are written from the graph
            self._views.pop(name, None)
        if "inference" in self._views:
            cast_like_weights(self._views["inference"], self._drawn_types())

    def _prepare_views(self, objective: Objective) -> None:
        for name in ("flat", "rows"):  # those made so far may run in another precision
            self._views.pop(name, None)
        frozen = self._frozen_parameters()
        trained = [weight for weight in self.named_weights() if isinstance(weight.tensor, nn.Parameter)]
        regularized = [weight for weight in trained if weight.options.regularizer is not None]
        self._terms = [weight.penalty for weight in regularized if id(weight.tensor) not in frozen]
        self._terms += [function for layer in self.sublayers() for function in layer._loss_functions]
        self._adds_terms = any(_adds_terms(layer) for layer in self.sublayers())
        objective.added = {name: Mean(name) for name, _ in self._symbolic_metrics}
        super()._prepare_views(objective)
        objective.structure = self._output_structure
        self._is_seen = self._has_hooks()
        self._lower_for_training(objective)

    def _hooked(self) -> nn.Module:
        hooked = super()._hooked()
        if "training" in self._views:
            self._lower_for_training(self._compiled("training"))
        return hooked

    def _for_execution(self, view: Any, training: bool) -> Any:
        view = super()._for_execution(view, training)
        return HookedView(view, self, training) if self._is_seen else view

    def _lower_for_training(self, objective: Objective) -> None:
        if self.uses_graph():
            graph = self._drawn()
            own = [tensor for layer in graph.layers for tensor in layer._symbolic_losses]
            if own:
                graph = Graph(graph.inputs, graph.outputs, [*graph.terms, *own])
            kind = "outputs" if self._is_seen else None  # hooks see what the model returns, and no logits
            accept = [partial(_accept, output, kind) for output in objective.outputs]
            view = lower_for_training(graph, accept, [*self._symbolic_losses, *own], self._symbolic_metrics, type(self).__name__)
            cast_like_weights(view.module, self._drawn_types())
            self._runs_layers = any(isinstance(module, Layer) for module in view.module.modules())
            flat = by_hand(Flat(view.module)) if self._may_learn_by_hand(objective) else Flat(view.module)
            self._views["training"] = self._for_execution(flat, training=True)

    def _may_learn_by_hand(self, objective: Objective) -> bool:
        """Whether nobody but this library's own steps, in one process, has to do with how the predictions came to be."""
        others = (self._precision, self._sharding, self._team, self._compiled_steps)
        is_alone = not (self._is_seen or self._runs_layers) and all(other is None for other in others)
        is_of_one_type = len([dtype for dtype in self._drawn_types() if dtype.is_floating_point]) == 1
        known = all(losses.is_known(output.loss) for output in objective.outputs)
        return is_alone and is_of_one_type and known and bool(self._collected) and not self._frozen

    def _uses_all_alike(self) -> bool:
        return "training" in self._views and not self._runs_layers

    def _training_outputs(self, x: Any) -> TrainingOutputs:
        if self._input_structure is not None and not isinstance(x, torch.Tensor):
            x = self._input_structure.flat(x)
        view = self._views.get("training")
        if view is not None and not self._runs_layers:
            outputs = as_outputs(view.run(x) if isinstance(x, torch.Tensor) else view.run(*x))
        else:
            with collecting() as collected:
                if view is None:
                    outputs = super()._training_outputs(x)
                    outputs = outputs._replace(masks=[carried_mask(prediction) for prediction in outputs.predictions])
                else:
                    outputs = as_outputs(view.run(x) if isinstance(x, torch.Tensor) else view.run(*x))
            found = (collected.losses, collected.metrics) if self._precision is None else in_float32((collected.losses, collected.metrics))
            outputs = outputs._replace(losses=(*outputs.losses, *found[0]), metrics=(*outputs.metrics, *found[1]))
        if self._terms:
            outputs = outputs._replace(losses=(*outputs.losses, *self._weight_terms()))
        return outputs

    def _call(self, x: Any) -> Any:
        flat = self._views.get("flat")
        if flat is None:
            if not self.uses_graph():
                return super()._call(put_on(self._input_structure, x))
            flat = self._views["flat"] = self._for_execution(Flat(self.lowered), training=False)
        if isinstance(x, torch.Tensor):
            return flat.run(x)
        return flat.run(*(x if self._input_structure is None else self._input_structure.flat(x)))

    def _plain_outputs(self, predictions: Any) -> TrainingOutputs:
        return super()._plain_outputs(listed(self._output_structure, predictions))

    def _of_own_parts(self, x: Any, y: Any, sample_weight: Any, training: bool) -> tuple[torch.Tensor, Mapping[str, Any]]:
        return super()._of_own_parts(*self._nested_batch((x, y, sample_weight)), training)

    def _nested_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        if self._input_structure is None and self._output_structure is None:
            return batch
        x, *others = batch
        y, sample_weight = (None if _is_nothing(part) else put_on(self._output_structure, part) for part in others)
        return put_on(self._input_structure, x), y, sample_weight

    def _per_output(self, value: Any) -> Any:
        structure = self._output_structure
        return listed(structure, value) if structure is not None and structure.is_deep else value

    def _rows_at_once(self, x: Any, batch_size: int) -> int:
        parts = listed(self._input_structure, x)
        in_memory = all(type(part) in (np.ndarray, torch.Tensor) for part in (parts if isinstance(parts, (list, tuple)) else [parts]))
        if not in_memory or not self.uses_graph() or "predict_step" in self.__dict__:
            return batch_size
        if "rows" not in self._views:
            self._views["flat"] = self._for_execution(Flat(self.lowered), training=False)
            self._views["rows"] = rows_at_once(self.lowered, self._drawn())
        rows: int = 0 if self._views["flat"].is_watched() else self._views["rows"]
        return max(batch_size, rows // batch_size * batch_size)

    def _output_shapes(self, arrays: Any) -> Any:
        graph = self.graph
        return [tensor.shape for tensor in graph.outputs] if graph is not None else super()._output_shapes(arrays)

    def _ready_again(self) -> None:
        """Lower the training view of a copy, and hold its own weights to their constraints."""
        self._hold_weights()
        self._prepare_views(self._compiled("training"))


def _signature_of(model: DrawnTrainer, graph: Graph) -> dict[str, Any]:
    """What a graph alone says of the data that it takes, as attributes of a `Signature`."""
    return {
        "input_names": model._input_labels(),
        "input_shapes": [tensor.shape for tensor in graph.inputs],
        "input_dtypes": [graph.input_dtype(index) for index in range(len(graph.inputs))],
        "output_names": model._output_labels(),
        "output_shapes": [tensor.shape for tensor in graph.outputs],
        "fed": {
            index: graph.maker(tensor).operation.feed
            for index, tensor in enumerate(graph.inputs)
            if getattr(graph.maker(tensor).operation, "tensor", None) is not None
        },
        "input_structure": model._input_structure,
        "output_structure": model._output_structure,
    }


def _adds_terms(layer: Any) -> bool:
    return bool(layer.activity_regularizer is not None or layer._symbolic_losses or layer._symbolic_metrics)


def _accept(output: Any, instead: str | None, kind: str) -> bool:
    accepted: bool = output.accept_logits(instead or kind)
    return accepted


def _is_nothing(value: Any) -> bool:
    return value is None or isinstance(value, list) and all(part is None for part in value)


def _holder(weight: NamedWeight) -> Callable[[], None]:
    """Return the function that holds a weight to its constraint, on its device."""

    def apply() -> None:
        with torch.no_grad():
            weight.write(weight.options.constraint(weight.view))

    return apply
