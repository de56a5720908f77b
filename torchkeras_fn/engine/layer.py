"""`Layer`: configure, build, and it is a torch module. Every layer, built in or a user's own, starts here."""

import functools
import inspect
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakSet

import torch
from torch import nn

from torchkeras_fn import activations, regularizers
from torchkeras_fn.arguments import sizes
from torchkeras_fn.engine.basics.nested import leaves_of
from torchkeras_fn.engine.drawing import inferring
from torchkeras_fn.engine.drawing.function_module import FunctionModule
from torchkeras_fn.engine.layer_parts.building import whole
from torchkeras_fn.engine.layer_parts.calling import Called
from torchkeras_fn.engine.layer_parts.making import Made
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.engine.layer_parts.reserved_names import NEEDED, as_method, bound_with_mode_switch, with_mode_switch
from torchkeras_fn.engine.symbolic import describe_operation
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import Registry, snake_case

registry = Registry("layer", {})
"""The layers and models that a configuration may name; each room that defines some adds its own."""

pinned_names: Counter[str] = Counter()
"""How many automatic names each prefix has given out; `backend.clear_session` forgets them."""


class Layer(Made, Called):
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

    takes_integers: ClassVar[bool] = False
    """The input is a tensor of indices: whatever else comes is cast to integers."""
    assumed_input_shape: ClassVar[tuple[int | None, ...] | None] = None
    """The shape, batch included, for which a stack that begins with the layer is drawn where somebody asks before there is data."""
    stateful: bool = False
    """The layer keeps states from batch to batch."""
    _graphs: ClassVar[WeakSet[Any]] = WeakSet()
    """The models, whose lowered graphs hold the layers' activations and activity regularizers."""
    takes_later: ClassVar[frozenset[str]] = frozenset(
        ("activation", "activity_regularizer", "kernel_regularizer", "bias_regularizer", "recurrent_regularizer", "embeddings_regularizer")
    )
    """Arguments that programs set anew, as attributes, of layers that are built already."""
    built_for: Any = None
    """The input shape for which the weights were made; `None` where they are not, or were made otherwise."""
    default_name: ClassVar[str] = ""
    given_name: str | None
    automatic_name: str | None
    _initial_weights: Sequence[Any] | None
    _listed: set[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let `build` take over the torch module that it returns also where a user calls it, as Keras' layers are built by hand.

        And let `train` be the loop of a program as well as what torch switches the mode by.
        """
        super().__init_subclass__(**kwargs)
        cls._is_users = cls._adds_as_it_runs = not is_ours(cls)
        if cls._is_users and not is_ours(cls.compute_mask):
            cls.makes_mask = True
        if "build" in vars(cls):
            cls.build = whole(cls.build)  # type: ignore[method-assign]
        if "train" in vars(cls):
            cls.train = with_mode_switch(vars(cls)["train"])  # type: ignore[method-assign]

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
        super().__init__(dtype)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"The name of a layer is a string, got {name!r} of type {type(name).__name__}.")
        if weights is not None and not isinstance(weights, (list, tuple)):
            raise TypeError(f"'weights' is a list of arrays to begin with, got {weights!r} of type {type(weights).__name__}.")
        vars(self).update(  # past the `__setattr__` of modules, which would be a tenth of the time that drawing a layer takes
            given_name=name,
            automatic_name=None,
            built=False,
            _is_being_built=False,
            _trainable=trainable,
            _nodes=[],
            _writes_to_inputs={},
            _initial_weights=weights,
            _listed=set(),
        )
        if not _mode_of_running_call():
            self.training = False
        if not hasattr(self, "activation"):  # Keras' base class has none: a program may have set its own before this
            self.activation = None
        self.activity_regularizer = regularizers.get(activity_regularizer)
        if batch_input_shape is None and input_shape is None and input_dim is not None:
            input_shape = (input_dim,) if input_length is None and not self.takes_integers else (input_length, input_dim)
            if self.takes_integers:
                input_shape = (input_length,)
        if batch_input_shape is None and input_shape is not None:
            batch_input_shape = (batch_size, *sizes(input_shape, "input_shape"))
        self.batch_input_shape = None if batch_input_shape is None else sizes(batch_input_shape, "batch_input_shape")

    # ------------------------------------------------------------------ what a layer overrides

    def build(self, input_shape: Any) -> nn.Module | None:
        """Create the weights for inputs of this shape (a list of shapes for several); return the torch module, if there is one."""
        return None

    # ------------------------------------------------------------------ describing

    def set_activation(self, identifier: Any) -> None:
        """Set the activation from its name, a function, a torch module, a layer or its config; `None` and `'linear'` mean none."""
        is_layer = isinstance(identifier, Mapping) and identifier.get("class_name") in registry.entries
        found = registry.deserialize(identifier) if is_layer else activations.get(identifier)
        home = getattr(inspect.getmodule(found), "__name__", "torch").split(".")[0]
        if not isinstance(found, nn.Module) and home not in ("torch", __name__.split(".")[0]):
            found = FunctionModule(found)
        self.activation = None if found is activations.linear else found

    @property
    def compute_dtype(self) -> torch.dtype:
        """The type in which the layer computes: that of its weights, as mixed precision is the trainer's."""
        return self.dtype

    variable_dtype = dtype_policy = compute_dtype

    @property
    def name(self) -> str:
        """The name: the one given, or a number after the class, fixed when a model takes the layer or when it is read."""
        if self.given_name is None and self.automatic_name is None:
            prefix = self.name_prefix
            pinned_names[prefix] += 1
            self.automatic_name = f"{prefix}_{pinned_names[prefix]}"
        return self.given_name or str(self.automatic_name)

    @name.setter
    def name(self, value: str) -> None:
        self.given_name = value

    @property
    def name_prefix(self) -> str:
        """What automatic names begin with: the class in snake case."""
        return self.default_name or snake_case(type(self).__name__)

    def full_name(self, weight: NamedWeight) -> str:
        """The name of a weight after that of the layer, which is not fixed by this."""
        return f"{self.given_name or self.automatic_name or self.name_prefix}/{super().full_name(weight)}"

    @property
    def losses(self) -> list[torch.Tensor]:
        """What this layer, and those inside, added when they last ran outside of training, and what regularizers ask for their weights."""
        added = [term for layer in self.sublayers() for term in layer._last_losses]
        trained = {id(tensor) for tensor in self.trainable_weights}
        regularized = [weight for weight in self.named_weights() if weight.options.regularizer is not None and id(weight.tensor) in trained]
        return [*added, *(weight.penalty() for weight in regularized)]

    # ------------------------------------------------------------------ building

    def _build(self, input_shape: Any, *others: Any, **further: Any) -> None:
        if self.built:
            return
        self.own_listed_modules()
        self._is_being_built = True
        with inferring.creating_weights():
            try:
                module = self.build(input_shape, *others, **further)
            except (ValueError, TypeError) as error:
                raise type(error)(f"{describe_operation(self)} cannot be built for input of shape {input_shape}: {error}") from error
            finally:
                self._is_being_built = False
            if module is not None:
                self._take_over(module)
        self.own_listed_modules()
        self.built, self.built_for = True, input_shape
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)

    def _take_over(self, module: nn.Module) -> None:
        """Make a module that was just built this layer's own, with the weights that the layer was told to begin with."""
        if module is self.module:
            return
        if not self.training:
            module.eval()
        self._adopt(module)
        self._initialize()

    def __setattr__(self, name: str, value: Any) -> None:
        """Own what lists hold before the next layer comes, so that weights are in the order in which the layers were kept."""
        if name in NEEDED:
            value = as_method(self, name, value)
        if self._is_users and isinstance(value, nn.Module) and "_listed" in self.__dict__:
            self.own_listed_modules()
            self._make_room(name, value)
            if value in self._modules.values():  # what a list holds is from here on known as this attribute, at its place
                parts = [(name if part is value and key in self._listed else key, part) for key, part in self._modules.items()]
                self._modules.clear()
                self._modules.update(parts)
        super().__setattr__(name, value)
        if name in self.takes_later and not self._is_users and self.__dict__.get("built"):
            self.set_later(name, value)

    def set_later(self, name: str, value: Any) -> None:
        """Let one of the arguments that `takes_later` names, of a layer that was built already, count in its models and configuration.

        Override where the torch module has to be told.
        """
        if name == "activation" and not self.activates_outputs:
            return
        self._set_later = {**self._set_later, name: value}
        if name in ("activation", "activity_regularizer"):
            for model in list(self._graphs):
                if any(layer is self for layer in model.sublayers()):
                    model.forget_views()

    def own_listed_modules(self) -> None:
        """Own the modules that a user's class keeps in lists, tuples and dicts, as it owns those in attributes: `blocks_0`, `blocks_1`."""
        if not self._owns_what_lists_hold():
            return
        kept = {name: value for name, value in vars(self).items() if isinstance(value, (list, tuple, dict)) and name not in _OUR_ATTRIBUTES}
        for name, value in kept.items():
            for index, part in enumerate(leaves_of(value)):
                if isinstance(part, nn.Module) and part not in self._modules.values():
                    self._modules[f"{name}_{index}"] = part
                    self._listed.add(f"{name}_{index}")

    def _owns_what_lists_hold(self) -> bool:
        return type(self).call is not Layer.call

    def _make_room(self, name: str, module: nn.Module) -> None:
        """Get ready for a module that a user's class is about to keep in an attribute of this name."""

    def _adopt(self, module: nn.Module) -> None:
        """Make the module's weights this layer's own: one set of tensors, known as `dense_1.weight`, not `dense_1.module.weight`."""
        if self.dtype != torch.get_default_dtype() and self.weight_map:
            module.to(self.dtype)
        if self._is_users:
            self._bring_along(module)
        vars(self)["module"] = module
        self.training = module.training
        if type(module).train is not nn.Module.train:  # which may keep parts of it in their mode
            vars(self)["train"] = functools.partial(_train, self, module)
        if isinstance(self.activation, nn.Module) and self.activates_outputs:
            module._modules["activation"] = self.activation
        for kept in ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules"):
            vars(self)[kept] = getattr(module, kept)  # which a traced module has elsewhere

    def _bring_along(self, module: nn.Module) -> None:
        """Give the module the weights and layers that a user's class keeps beside it, so that they are moved, saved and trained with it."""
        theirs = frozenset((*module._parameters, *module._buffers, *module._modules))
        inside = {id(part) for part in (*module.modules(), *module.parameters(), *module.buffers())}
        brought = []
        for kind in ("_parameters", "_buffers", "_modules"):
            for name, part in vars(self)[kind].items():
                if part is None or part is self.activation or id(part) in inside or name in self._of_module:
                    continue
                if name in theirs:
                    kind_of_module = type(module).__name__
                    raise ValueError(f"{name!r} is what {kind_of_module} calls a part of its own. Give this weight or layer another name.")
                vars(module)[kind][name] = part
                brought.append(name)
        module._non_persistent_buffers_set.update(self._non_persistent_buffers_set.intersection(brought))
        object.__setattr__(self, "_of_module", theirs)
        object.__setattr__(self, "_made_before", frozenset(brought))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Change all tensors, as torch does for `to`, `double` and the like; weights that are made later are of the type of a cast."""
        for layer in self.sublayers():
            layer.dtype = fn(torch.empty(0, dtype=layer.dtype, device="cpu")).dtype
        if self.module is not None:
            self.module._apply(fn, recurse)
            return self
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """A copy of a layer stands in no graph, and has not run."""
        return {**self.__dict__, "_nodes": [], "_last_losses": (), "_last_metrics": ()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.given_name or self.automatic_name or '(unnamed)'}>"


def _mode_of_running_call() -> bool:
    """Whether a layer that is made now begins in training mode, as torch's modules do; made within a `call`, it has the mode of that."""
    frame = None if torch.compiler.is_compiling() else sys._getframe(1)
    while frame is not None:
        if frame.f_code in _FORWARDS:
            return bool(frame.f_locals["self"].training)
        frame = frame.f_back
    return True


_FORWARDS = (Called.forward.__code__, FunctionModule.forward.__code__)


Layer.build = whole(Layer.build)  # type: ignore[method-assign]


def _train(layer: Layer, module: nn.Module, mode: bool = True) -> Layer:
    """Switch a layer to training or inference as its module has it switched, whose parts are the layer's."""
    bound_with_mode_switch(module, module.train)(mode)
    layer.training = mode
    return layer


_OUR_ATTRIBUTES = frozenset(("_modules", "built_for", "_arguments", "_stack", "_views", "_of_graph", *vars(Layer())))
"""Attributes of a layer, and of the models, in which a user's class keeps nothing of its own."""
