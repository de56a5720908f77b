"""`Drawn`: a layer with a graph inside, as it runs: its views, and what a call tells beside its outputs."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.basics import threads
from torchkeras_fn.engine.basics.modes import is_in_mode, mode_of, with_own_mode
from torchkeras_fn.engine.drawing.incoming import MASK, as_floats, as_tensors, carried_mask, carry_mask, masks_of
from torchkeras_fn.engine.drawing.inference import InferenceError
from torchkeras_fn.engine.drawing.spec import Spec
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.graphs.has_graph import HasGraph
from torchkeras_fn.engine.graphs.in_parts import specs_of_outputs
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.additions import collecting, is_collecting
from torchkeras_fn.engine.lowered.casting import cast_like_weights
from torchkeras_fn.engine.lowering import GraphModule, lower, lower_for_training


class Drawn(HasGraph):
    """The part of a model that runs its graph.

    >>> from torchkeras_fn.layers import Input
    >>> x = Input(shape=(3,))
    >>> Drawn([x], [x + 1])(torch.zeros(1, 3)).tolist()
    [[1.0, 1.0, 1.0]]
    """

    _sharding: Any = None
    """What keeps the weights in parts on several processes, if they are."""
    _running: Callable[..., Any] | None = None
    """What a call runs in place of the graph's inference view, while a step calls the model because of its hooks."""
    _is_seen = False
    """Whether hooks are registered on the model itself."""

    def _set_graph(self, graph: Graph) -> None:
        super()._set_graph(graph)
        self._graphs.add(self)

    def forget_views(self) -> None:
        """Lower the graph anew when it runs next."""
        self._views = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for real inputs: one argument, or a list or dict, or as many arguments as there are inputs."""
        if not self._views.get("adds_nothing") and not is_collecting():
            return self._run_and_gather(args, kwargs)
        graph = self.graph
        if graph is None or type(self).call is not Layer.call:
            return super().forward(*args, **kwargs)
        training = kwargs.pop("training", None)
        if training is not None and not (threads.is_in_own(bool(training)) and is_in_mode(self, bool(training))):
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


def _tells_more(layer: Layer) -> bool:
    """Whether a layer may have more to tell of a call than its outputs."""
    return layer.makes_mask or layer.activity_regularizer is not None or bool(layer._symbolic_losses or layer._symbolic_metrics)


def _takes_no_logits(kind: str) -> bool:
    return False


def _one_or_list(tensors: Sequence[Any]) -> Any:
    return list(tensors) if len(tensors) > 1 else tensors[0]
