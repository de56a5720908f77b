"""`Layer`: configure, build, and it is a torch module. Every layer, built in or a user's own, starts here."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from torchkeras_fn import activations, config, constraints, initializers, regularizers
from torchkeras_fn.configurable import constructor_arguments
from torchkeras_fn.engine import inference
from torchkeras_fn.engine.symbolic import KerasTensor, Node, Shape, describe_operation, is_symbolic, record, symbolic_leaves


class Weight(NamedTuple):
    """Where a Keras weight lives in the torch module, and which torch axes are Keras' axes, in Keras' order."""

    path: str
    axes: tuple[int, ...] | None = None


class WeightOptions(NamedTuple):
    """How a weight begins, what it costs and what it is held to."""

    initializer: Any
    regularizer: Any = None
    constraint: Any = None


class NamedWeight(NamedTuple):
    """A weight of a layer: its Keras name, its tensor in torch's layout, the axes for Keras' layout, and its options."""

    name: str
    tensor: torch.Tensor
    axes: tuple[int, ...] | None
    options: WeightOptions

    @property
    def view(self) -> torch.Tensor:
        """The weight in Keras' layout, sharing memory with the tensor."""
        tensor = self.tensor.detach()
        return tensor if self.axes is None else tensor.permute(self.axes)


_pinned_names: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """Return a class name as Keras spells it in layer names.

    >>> snake_case("BatchNormalization"), snake_case("Conv2D")
    ('batch_normalization', 'conv2d')
    """
    spaced = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


class Layer(nn.Module):
    """A step of a model: called on symbolic tensors it draws, called on tensors it runs.

    A built-in layer describes a torch module: `build(input_shape)` returns it, and `weight_map` says which of its
    tensors are Keras' weights. A layer of your own overrides `call`, and creates its weights in `__init__` or `build`,
    with `add_weight` or as plain torch submodules.

    Keyword arguments: `name` (unique within a model; numbered automatically), `trainable`, `dtype` of the weights,
    `activity_regularizer`, and for the first layer of a `Sequential` `input_shape` (without the batch), or
    `batch_input_shape`, or `input_dim` and `input_length`. `weights` is a list of arrays to begin with.

    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight("factor", (input_shape[-1],), initializer="ones")
    ...     def call(self, inputs):
    ...         return inputs * self.factor
    >>> Scale()(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """

    weight_map: ClassVar[Mapping[str, Weight]] = {}
    inline: ClassVar[bool] = False
    """`call` is made of torch functions alone, so the lowering writes those instead of a call of the layer."""
    takes_integers: ClassVar[bool] = False
    """The input is a tensor of indices: whatever else comes is cast to integers."""
    needs_floats: ClassVar[bool] = False
    """Integer input, such as the bytes of an image, is cast to a float type."""
    supports_masking: bool = False
    default_name: ClassVar[str] = ""

    _arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
    _trainable = True
    module: nn.Module | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        object.__setattr__(self, "_arguments", (args, kwargs))
        return self

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        activity_regularizer: Any = None,
        input_shape: Sequence[int | None] | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        input_length: int | None = None,
        batch_size: int | None = None,
        weights: Sequence[Any] | None = None,
    ):
        super().__init__()
        if name is not None and not isinstance(name, str):
            raise TypeError(f"The name of a layer is a string, got {name!r} of type {type(name).__name__}.")
        self.given_name = name
        self.automatic_name: str | None = None
        self.dtype = config.dtype(dtype)
        self.built = False
        self.activation: Any = None
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self._trainable = trainable
        self._nodes: list[Node] = []
        self._weight_options: dict[str, WeightOptions] = {}
        self._initial_weights = weights
        if batch_input_shape is None and input_shape is None and input_dim is not None:
            input_shape = (input_dim,) if input_length is None and not self.takes_integers else (input_length, input_dim)
            if self.takes_integers:
                input_shape = (input_length,)
        if batch_input_shape is None and input_shape is not None:
            batch_input_shape = (batch_size, *((input_shape,) if isinstance(input_shape, int) else input_shape))
        self.batch_input_shape = None if batch_input_shape is None else tuple(batch_input_shape)

    # ------------------------------------------------------------------ what a layer overrides

    def build(self, input_shape: Any) -> nn.Module | None:
        """Create the weights for inputs of this shape (a list of shapes for several); return the torch module, if there is one."""
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs. `training` and `mask` are passed to a `call` that names them."""
        if self.inline:
            return self.finish(inputs)
        if self.module is None:
            raise NotImplementedError(f"{type(self).__name__} needs a call(inputs), or a build(input_shape) that returns a torch module.")
        return self.finish(self.module(self.prepare(inputs), *args, **kwargs))

    def prepare(self, inputs: Any) -> Any:
        """Turn the inputs into what the torch module takes, with torch functions."""
        return inputs

    def finish(self, outputs: Any) -> Any:
        """Turn what the torch module gives into the outputs: the activation, unless overridden."""
        return outputs if self.activation is None else self.activation(outputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the outputs: that of the inputs where the layer supports masking, else none."""
        return mask if self.supports_masking else None

    # ------------------------------------------------------------------ describing

    def set_activation(self, identifier: Any) -> None:
        """Set the activation from its name, a function or a torch module; `None` and `'linear'` mean none."""
        found = activations.get(identifier)
        home = getattr(inspect.getmodule(found), "__name__", "torch").split(".")[0]
        if not isinstance(found, nn.Module) and home not in ("torch", __name__.split(".")[0]):
            found = FunctionModule(found)
        self.activation = None if found is activations.linear else found

    def describe_weights(self, **options: Sequence[Any]) -> None:
        """Set initializer, regularizer and constraint for each weight by name: `kernel=('glorot_uniform', None, None)`."""
        for name, (initializer, *rest) in options.items():
            regularizer, constraint = (*rest, None, None)[:2]
            chosen = WeightOptions(initializers.get(initializer), regularizers.get(regularizer), constraints.get(constraint))
            self._weight_options[name] = chosen
            for kind, value in zip(WeightOptions._fields, chosen, strict=True):
                object.__setattr__(self, f"{name}_{kind}", value)

    def add_weight(
        self,
        name: Any = None,
        shape: Any = None,
        dtype: Any = None,
        initializer: Any = "glorot_uniform",
        regularizer: Any = None,
        trainable: bool = True,
        constraint: Any = None,
        **ignored: Any,
    ) -> torch.Tensor:
        """Create a weight of the layer: an `nn.Parameter`, or a buffer where it is not trainable.

        `shape` may also come first, as in Keras 3. Assigned to an attribute, the weight is known in `state_dict()`
        under the attribute's name.
        """
        if name is not None and not isinstance(name, str):
            name, shape = (shape if isinstance(shape, str) else None), name
        name = (name or f"weight_{len(self._parameters) + len(self._buffers) + 1}").replace(".", "_").replace("/", "_")
        shape = () if shape is None else (shape,) if isinstance(shape, int) else tuple(int(size) for size in shape)
        options = WeightOptions(initializers.get(initializer), regularizers.get(regularizer), constraints.get(constraint))
        value = torch.as_tensor(options.initializer(shape, dtype=config.dtype(dtype) if dtype else self.dtype))
        inference.keep_random_state()
        self._weight_options[name] = options
        if trainable and value.is_floating_point():
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)
        weight: torch.Tensor = getattr(self, name)
        return weight

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep a weight from `add_weight` under the name of the attribute it is assigned to."""
        if isinstance(value, torch.Tensor):
            for registered in (self.__dict__.get("_parameters", {}), self.__dict__.get("_buffers", {})):
                for known in [key for key, tensor in registered.items() if tensor is value and key != name]:
                    del registered[known]
                    self._weight_options[name] = self._weight_options.pop(known, WeightOptions(None))
                    registered[name] = value
                    return
        super().__setattr__(name, value)

    @property
    def name(self) -> str:
        """The name: the one given, or a number after the class, fixed when a model takes the layer or when it is read."""
        if self.given_name is None and self.automatic_name is None:
            prefix = self.name_prefix
            _pinned_names[prefix] += 1
            self.automatic_name = f"{prefix}_{_pinned_names[prefix]}"
        return self.given_name or str(self.automatic_name)

    @name.setter
    def name(self, value: str) -> None:
        self.given_name = value

    @property
    def name_prefix(self) -> str:
        """What automatic names begin with: the class in snake case."""
        return self.default_name or snake_case(type(self).__name__)

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; honoured when a model is compiled. Setting it reaches the layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.sublayers():
            layer.set_trainable(value)

    def set_trainable(self, value: bool) -> None:
        """Note whether training changes this layer's weights; override where freezing changes more."""
        self._trainable = bool(value)

    def sublayers(self) -> Iterator["Layer"]:
        """Yield this layer and every layer inside it."""
        return (module for module in self.modules() if isinstance(module, Layer))

    # ------------------------------------------------------------------ calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_symbolic((args, kwargs)):
            return self._draw(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Build the layer for the tensors that came, if it is not built, and call it."""
        args = tuple(_as_tensors(argument, self) for argument in args)
        if not self.built:
            self._build(_shapes(args[0] if args else next(iter(kwargs.values()), ())))
        if self.needs_floats:
            args = (_as_floats(args[0], self.dtype), *args[1:])
        if self.call_takes("training") and "training" not in kwargs:
            kwargs["training"] = self.training
        elif "training" in kwargs and not self.call_takes("training"):
            del kwargs["training"]
        return self.call(*args, **kwargs)

    def call_takes(self, argument: str) -> bool:
        """Return whether `call` names an argument, such as `training` or `mask`."""
        return argument in _call_arguments(type(self))

    def _draw(self, *args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()))
        for part in first if isinstance(first, (list, tuple)) else [first]:
            if not isinstance(part, (KerasTensor, torch.Tensor)):
                raise ValueError(
                    f"{describe_operation(self)} was called on {part!r} of type {type(part).__name__}, which is not symbolic. "
                    "Expected what Input(...) or another layer returned."
                )
        self._build(_shapes(first))
        if self.needs_floats and args:
            args = (_as_floats(first, self.dtype), *args[1:])
        outputs = record(self, args, kwargs, function=self._inferred, device=self._device())
        self._nodes.append(symbolic_leaves(outputs)[0].node)
        return outputs

    def _inferred(self, *args: Any, **kwargs: Any) -> Any:
        """Run once in inference mode, leaving every module's mode as it was."""
        roots = (self,) if self.module is None else (self, self.module)
        with inference.inference_mode_of(*roots):
            try:
                return self.forward(*args, **kwargs)
            except Exception:
                declare = getattr(self, "compute_output_shape", None)
                if declare is None or not isinstance(args[0], torch.Tensor):
                    raise
                return torch.empty(declare(tuple(args[0].shape)), dtype=self.dtype, device=args[0].device)

    def _device(self) -> torch.device | None:
        return next((tensor.device for tensor in [*self.parameters(), *self.buffers()]), None)

    def _build(self, input_shape: Any) -> None:
        if self.built:
            return
        try:
            module = self.build(input_shape)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{describe_operation(self)} cannot be built for input of shape {input_shape}: {error}") from error
        inference.keep_random_state()
        if module is not None:
            self._adopt(module)
            self._initialize()
        self.built = True
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)

    def _adopt(self, module: nn.Module) -> None:
        """Make the module's weights this layer's own: one set of tensors, known as `dense_1.weight`, not `dense_1.module.weight`."""
        if self.dtype != torch.get_default_dtype() and self.weight_map:
            module.to(self.dtype)
        object.__setattr__(self, "module", module)
        self._parameters = module._parameters
        self._buffers = module._buffers
        self._non_persistent_buffers_set = module._non_persistent_buffers_set
        if isinstance(self.activation, nn.Module):
            module._modules["activation"] = self.activation
        self._modules = module._modules

    def _initialize(self) -> None:
        with torch.no_grad():
            for weight in self.named_weights():
                if weight.options.initializer is not None:
                    view = weight.view
                    view.copy_(torch.as_tensor(weight.options.initializer(tuple(view.shape), dtype=view.dtype)))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        if self.module is not None:
            self.module._apply(fn, recurse)
            return self
        return super()._apply(fn, recurse)

    def train(self, mode: bool = True) -> Any:
        """Set training or inference mode, of the torch module too."""
        if self.module is not None:
            self.module.train(mode)
        return super().train(mode)

    # ------------------------------------------------------------------ weights

    def named_weights(self) -> list[NamedWeight]:
        """Return the weights in Keras' order: those that can be trained first."""
        nothing = WeightOptions(None)
        if self.weight_map and self.module is not None:
            found = [(name, self._read(weight.path), weight.axes) for name, weight in self.weight_map.items()]
            return [
                NamedWeight(name, tensor, axes, self._weight_options.get(name, nothing))
                for name, tensor, axes in found
                if tensor is not None
            ]
        own = [*self._parameters.items(), *((k, b) for k, b in self._buffers.items() if k not in self._non_persistent_buffers_set)]
        weights = [NamedWeight(k, t, None, self._weight_options.get(k, nothing)) for k, t in own if t is not None]
        for name, child in self._modules.items():
            if isinstance(child, Layer):
                weights += [weight._replace(name=f"{name}/{weight.name}") for weight in child.named_weights()]
            elif child is not None:
                tensors = [*child.named_parameters(prefix=name), *child.named_buffers(prefix=name)]
                weights += [NamedWeight(key, tensor, None, nothing) for key, tensor in tensors]
        return [w for w in weights if isinstance(w.tensor, nn.Parameter)] + [
            w for w in weights if not isinstance(w.tensor, nn.Parameter)
        ]

    def _read(self, path: str) -> torch.Tensor | None:
        owner: Any = self.module
        for part in path.split("."):
            owner = getattr(owner, part, None)
        return owner if isinstance(owner, torch.Tensor) else None

    @property
    def weights(self) -> list[torch.Tensor]:
        """All weights, as torch tensors in torch's layout, in Keras' order."""
        return [weight.tensor for weight in self.named_weights()]

    @property
    def trainable_weights(self) -> list[torch.Tensor]:
        """The weights that training changes: the parameters of every trainable layer inside; none if this one is not."""
        frozen = self._frozen_parameters()
        return [w for w in _unique(self.weights) if isinstance(w, nn.Parameter) and w.requires_grad and id(w) not in frozen]

    @property
    def non_trainable_weights(self) -> list[torch.Tensor]:
        """The weights that training leaves alone: moving statistics, and the parameters of frozen layers."""
        trainable = {id(weight) for weight in self.trainable_weights}
        return [weight for weight in _unique(self.weights) if id(weight) not in trainable]

    def _frozen_parameters(self) -> set[int]:
        frozen = [self, *self.sublayers()] if not self._trainable else [x for x in self.sublayers() if not x._trainable]
        return {id(weight) for layer in frozen for weight in layer.weights}

    def get_weights(self) -> list[np.ndarray]:
        """Return the weights as numpy arrays in Keras' order and layout: the kernel of `Dense` is `(inputs, units)`."""
        return [weight.view.cpu().numpy().copy() for weight in self.named_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights from arrays in Keras' order and layout. Raises `ValueError`, and changes nothing, where they do not fit."""
        named = self.named_weights()
        if len(weights) != len(named):
            raise ValueError(
                f"{describe_operation(self)} has {len(named)} weights {[w.name for w in named]}, but {len(weights)} arrays were given."
            )
        arrays = [torch.as_tensor(np.asarray(w.detach().cpu() if isinstance(w, torch.Tensor) else w)) for w in weights]
        for weight, array in zip(named, arrays, strict=True):
            if weight.view.shape != array.shape:
                raise ValueError(
                    f"Weight {weight.name!r} of {describe_operation(self)} has shape {tuple(weight.view.shape)}, "
                    f"but the array given for it has shape {tuple(array.shape)}."
                )
        with torch.no_grad():
            for weight, array in zip(named, arrays, strict=True):
                weight.view.copy_(array)

    def count_params(self) -> int:
        """Return the number of scalars in the weights. Raises `ValueError` for a layer that is not built."""
        if not self.built and not self.weights:
            raise ValueError(f"{describe_operation(self)} is not built yet, so its weights cannot be counted. Call it on an input first.")
        return sum(weight.numel() for weight in _unique(self.weights))

    # ------------------------------------------------------------------ where the layer stands in the graph

    @property
    def input(self) -> Any:
        """What the layer was called on. Raises `AttributeError` unless it was called exactly once."""
        return self._only_node().args[0]

    @property
    def output(self) -> Any:
        """What the layer returned. Raises `AttributeError` unless it was called exactly once."""
        return self._only_node().outputs

    def get_input_at(self, node_index: int) -> Any:
        """Return what the layer was called on the given time (from 0)."""
        return self._nodes[node_index].args[0]

    def get_output_at(self, node_index: int) -> Any:
        """Return what the layer returned the given time (from 0)."""
        return self._nodes[node_index].outputs

    @property
    def input_shape(self) -> Any:
        """The shape of `input`, with `None` for unknown dimensions; a list for several."""
        return _shapes(self.input)

    @property
    def output_shape(self) -> Any:
        """The shape of `output`, with `None` for unknown dimensions; a list for several."""
        return _shapes(self.output)

    def _only_node(self) -> Node:
        if len(self._nodes) != 1:
            raise AttributeError(
                f"{describe_operation(self)} was called {len(self._nodes)} times, so it has no single input or output. "
                "Use get_input_at(index) and get_output_at(index)."
            )
        return self._nodes[0]

    def __getstate__(self) -> dict[str, Any]:
        """A copy of a layer stands in no graph."""
        return {**self.__dict__, "_nodes": []}

    # ------------------------------------------------------------------ configuration

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, defaults included, as plain values: `from_config` makes an equal layer of them."""
        arguments = constructor_arguments(self, *self._arguments)
        arguments.pop("weights", None)
        return {**arguments, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new layer with the arguments that `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.given_name or self.automatic_name or '(unnamed)'}>"


class FunctionModule(nn.Module):
    """Calls a Python function: the torch module of a `Lambda`, and of an activation that is not torch's own."""

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any] | None = None):
        super().__init__()
        self.function = function
        self.arguments = dict(arguments or {})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function makes of the arguments and those given at construction."""
        return self.function(*args, **self.arguments, **kwargs)


def _call_arguments(cls: type, cache: dict[type, frozenset[str]] = {}) -> frozenset[str]:  # noqa: B006 - a cache for the process
    if cls not in cache:
        cache[cls] = frozenset(inspect.signature(cls.call).parameters)  # type: ignore[attr-defined]
    return cache[cls]


def _shapes(tensors: Any) -> Any:
    """The shape of a tensor with an unknown batch, or the list of shapes of several."""
    if isinstance(tensors, (list, tuple)):
        return [_shapes(tensor) for tensor in tensors]
    if isinstance(tensors, dict):
        return {key: _shapes(tensor) for key, tensor in tensors.items()}
    shape: Shape = tuple(tensors.shape)
    return shape if isinstance(tensors, KerasTensor) else (None, *shape[1:])


def _as_tensors(argument: Any, layer: Layer) -> Any:
    if isinstance(argument, torch.Tensor) or argument is None:
        return argument
    if isinstance(argument, np.ndarray):
        return torch.as_tensor(argument, dtype=layer.dtype if argument.dtype == np.float64 else None)
    if isinstance(argument, (str, bytes)):
        raise ValueError(f"{describe_operation(layer)} was called on {argument!r}. Expected symbolic tensors from Input(...), or torch tensors.")
    return argument


def _as_floats(inputs: Any, dtype: torch.dtype) -> Any:
    if isinstance(inputs, (torch.Tensor, KerasTensor)) and not inputs.dtype.is_floating_point and not inputs.dtype.is_complex:
        return inputs.to(dtype)
    return inputs


def _unique(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())
