"""`Layer`: configure, build, and it is a torch module. Every layer, built in or a user's own, starts here."""

import contextlib
import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from torchkeras_fn import activations, regularizers
from torchkeras_fn.arguments import sizes
from torchkeras_fn.engine import inference
from torchkeras_fn.engine.additions import Additions, collecting
from torchkeras_fn.engine.building import further_shapes, whole
from torchkeras_fn.engine.connections import Connections, shapes_of
from torchkeras_fn.engine.copying import called_on_copies
from torchkeras_fn.engine.function_module import FunctionModule
from torchkeras_fn.engine.hooks import Hooked
from torchkeras_fn.engine.incoming import as_floats, as_tensors, carried_mask, carry_mask, check_inputs
from torchkeras_fn.engine.making import Made
from torchkeras_fn.engine.modes import mode_of
from torchkeras_fn.engine.symbolic import KerasTensor, Node, calls_symbolic, describe_operation, is_symbolic, record, symbolic_leaves
from torchkeras_fn.engine.weights import Weighted
from torchkeras_fn.portion import of_sum
from torchkeras_fn.registry import Registry, snake_case

registry = Registry("layer", {})
"""The layers and models that a configuration may name; each room that defines some adds its own."""

pinned_names: Counter[str] = Counter()
"""How many automatic names each prefix has given out; `backend.clear_session` forgets them."""


class Layer(Made, Additions, Connections, Hooked, Weighted):
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

    inline: ClassVar[bool] = False
    """`call` is made of torch functions alone, so the lowering writes those instead of a call of the layer."""
    module_takes: ClassVar[frozenset[str]] = frozenset()
    """What the torch module takes by keyword besides the inputs, such as `mask`: it is handed on."""
    activates_outputs: ClassVar[bool] = True
    """`activation` is applied to what the torch module gives; otherwise it acts inside the module, as in a recurrent cell."""
    takes_integers: ClassVar[bool] = False
    """The input is a tensor of indices: whatever else comes is cast to integers."""
    needs_floats: ClassVar[bool] = False
    """Integer input, such as the bytes of an image, is cast to a float type."""
    builds_itself: ClassVar[bool] = False
    """`build` alone does all that building takes, as in models; otherwise what it returns is taken over, by whomever it is called."""
    makes_mask: ClassVar[bool] = False
    """The layer gives its outputs a mask, whether or not the inputs come with one."""
    assumed_input_shape: ClassVar[tuple[int | None, ...] | None] = None
    """The shape, batch included, for which a stack that begins with the layer is drawn where somebody asks before there is data."""
    stateful: bool = False
    """The layer keeps states from batch to batch."""
    supports_masking: bool = False
    input_spec: Any = None
    """What the inputs must be: an `InputSpec`, or a list with one for each."""
    built_for: Any = None
    """The input shape for which the weights were made; `None` where they are not, or were made otherwise."""
    default_name: ClassVar[str] = ""
    _is_users: ClassVar[bool] = False
    """Whether the class was written by a user, who may write to the inputs."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let `build` take over the torch module that it returns also where a user calls it, as Keras' layers are built by hand."""
        super().__init_subclass__(**kwargs)
        cls._is_users = cls.__module__.split(".")[0] != __name__.split(".")[0]
        if "build" in vars(cls):
            cls.build = whole(cls.build)  # type: ignore[method-assign]

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
        self.given_name = name
        self.automatic_name: str | None = None
        self.built = False
        self._is_being_built = False
        if not hasattr(self, "activation"):  # Keras' base class has none: a program may have set its own before this
            self.activation: Any = None
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self._trainable = trainable
        self._nodes: list[Node] = []
        self._writes_to_inputs: dict[bool, bool] = {}
        self._initial_weights = weights
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
        return self.activation(outputs) if self.activates_outputs and self.activation is not None else outputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the outputs: that of the inputs where the layer supports masking, else none."""
        return mask if self.supports_masking else None

    def build_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return what `build` is given for a call with these arguments: the shape, or list of shapes, of the first."""
        return shapes_of(args[0] if args else next(iter(kwargs.values())))

    def mask_arguments(self, mask: Any, masks: Sequence[Any]) -> dict[str, Any]:
        """Return the keywords under which masks that come with the inputs are handed to the call.

        `mask` is that of the first argument (a list for several inputs), `masks` holds that of every argument.
        """
        return {"mask": mask} if self.call_takes("mask") else {}

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

    variable_dtype = compute_dtype

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

    @property
    def losses(self) -> list[torch.Tensor]:
        """What this layer, and those inside, added when they last ran outside of training, and what regularizers ask for their weights."""
        added = [term for layer in self.sublayers() for term in layer._last_losses]
        trained = {id(tensor) for tensor in self.trainable_weights}
        regularized = [weight for weight in self.named_weights() if weight.options.regularizer is not None and id(weight.tensor) in trained]
        return [*added, *(weight.penalty() for weight in regularized)]

    # ------------------------------------------------------------------ calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not args and "inputs" in kwargs:
            args = (kwargs.pop("inputs"),)
        if calls_symbolic(args, kwargs):
            return self._draw(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Build the layer for the tensors that came, if it is not built, and call it."""
        if self._needs_only_its_call(args, kwargs):
            self.forget_losses()
            return self.call(args[0])
        args = tuple(as_tensors(argument, self.dtype) for argument in args)
        kwargs = {name: as_tensors(argument, self.dtype) for name, argument in kwargs.items()}
        if not self.built:
            first = args[0] if args else next(iter(kwargs.values()), None)
            if not any(isinstance(leaf, torch.Tensor) for leaf in inference.leaves_of(first)):
                raise ValueError(
                    f"{describe_operation(self)} was called on {first!r} of type {type(first).__name__}. "
                    "Expected symbolic tensors from Input(...), or torch tensors."
                )
            self._build(self.build_shape(*args, **kwargs), **further_shapes(type(self), args, kwargs))
        if self.input_spec is not None:
            check_inputs(self.input_spec, args[0] if args else next(iter(kwargs.values())), self)
        in_order = _call_arguments(type(self))[1 : len(args) + 1]
        masks = [carried_mask(argument) for argument in args]
        if self.needs_floats and not self._may_keep_its_type(args[0]):  # what is cast carries no mask
            args = (as_floats(args[0], self.dtype), *args[1:])
        is_masked = any(mask is not None for mask in masks)
        if is_masked:
            kwargs = {**{name: mask for name, mask in self.mask_arguments(masks[0], masks).items() if name not in in_order}, **kwargs}
        mask = kwargs.get("mask", masks[0] if masks else None)
        mode = args[in_order.index("training")] if "training" in in_order else kwargs.pop("training", None)
        if self.call_takes("training") and "training" not in in_order:
            kwargs["training"] = self.training if mode is None else mode
        self.forget_losses()
        is_new_mode = mode is not None and mode != self.training
        in_mode = mode_of(*self._roots(), training=bool(mode)) if is_new_mode else contextlib.nullcontext()
        with in_mode, contextlib.nullcontext() if type(self).call is Layer.call else inference.untouched(self):
            writes = self._writes_to_inputs
            is_careful = writes.get(self.training, self._is_users)
            outputs = called_on_copies(self.call, args, kwargs, writes, self.training) if is_careful else self.call(*args, **kwargs)
        if self.activity_regularizer is not None:
            self.add_loss([of_sum(self.activity_regularizer(part)) for part in inference.leaves_of(outputs)])
        if is_masked or self.makes_mask:
            carry_mask(outputs, self.compute_mask(args[0], mask))
        return outputs

    def _needs_only_its_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether nothing is to be done around `call`, as for the usual layer of this library's, once it is built, on a plain tensor."""
        return (
            self.built
            and type(self).call is Layer.call
            and len(args) == 1
            and not kwargs
            and type(args[0]) is torch.Tensor
            and (args[0].dtype is self.dtype or not self.needs_floats)
            and not (self._is_users or self._writes_to_inputs or self.makes_mask)
            and self.input_spec is self.activity_regularizer is carried_mask(args[0]) is None
        )

    def _may_keep_its_type(self, inputs: Any) -> bool:
        """Whether inputs are floats that clash with no weights."""
        if not isinstance(inputs, torch.Tensor) or inputs.dtype is self.dtype:
            return True
        return inputs.dtype.is_floating_point and self._weight_device() is None

    def call_takes(self, argument: str) -> bool:
        """Return whether `call` names an argument, such as `training` or `mask`, or the torch module takes it."""
        return argument in self.module_takes or argument in _call_arguments(type(self))

    def _draw(self, *args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()))
        for part in inference.leaves_of(first):
            if not isinstance(part, (KerasTensor, torch.Tensor)):
                raise ValueError(
                    f"{describe_operation(self)} was called on {part!r} of type {type(part).__name__}, which is not symbolic. "
                    "Expected what Input(...) or another layer returned."
                )
        self._build(self.build_shape(*args, **kwargs), **({} if self.built else further_shapes(type(self), args, kwargs)))
        if self.input_spec is not None:
            check_inputs(self.input_spec, first, self)
        if self.needs_floats and args:
            args = (as_floats(first, self.dtype), *args[1:])
        outputs = record(self, args, kwargs, function=self._inferred, device=self._weight_device())
        if self._has_hooks() and not self._is_called_in_models():
            self._warn_of_hooks()
        if not is_symbolic(outputs):
            raise ValueError(f"{describe_operation(self)} returned {outputs!r} of type {type(outputs).__name__}. A layer returns tensors.")
        self._nodes.append(symbolic_leaves(outputs)[0].node)
        return outputs

    def _is_called_in_models(self) -> bool:
        """Whether the models that the layer is drawn into call it, and not what it is made of."""
        has_forward = self._is_users and type(self).forward is not Layer.forward
        return self.builds_itself or not (self.inline or type(self).call is Layer.call and not has_forward)

    def _run_in_models(self) -> nn.Module | None:
        if not self._nodes or self._is_called_in_models():
            return self
        is_all = type(self).prepare is Layer.prepare and type(self).finish is Layer.finish
        return self.module if is_all and (self.activation is None or not self.activates_outputs) else None

    def _inferred(self, *args: Any, **kwargs: Any) -> Any:
        """Run once in inference mode, leaving every module's mode as it was."""
        with mode_of(*self._roots(), training=False), collecting():
            try:
                return self.forward(*args, **kwargs)
            except Exception:
                if self.call_takes("mask") and kwargs.get("mask") is None and args:
                    with contextlib.suppress(Exception):  # a `call` that needs a mask runs with one that hides nothing
                        return self.forward(*args, **{**kwargs, "mask": inference.map_only(torch.Tensor, _all_steps, args[0])})
                declared = "compute_output_shape" in vars(self) or type(self).compute_output_shape is not Layer.compute_output_shape
                if not declared or not isinstance(args[0], torch.Tensor):
                    raise
                samples, *shape = self.compute_output_shape(tuple(args[0].shape))
                if isinstance(samples, (tuple, list)) or None in shape:  # this does not tell what torch would need to know
                    raise
                return torch.empty((args[0].shape[0] if samples is None else samples, *shape), dtype=self.dtype, device=args[0].device)

    def _roots(self) -> tuple[nn.Module, ...]:
        return (self,) if self.module is None else (self, self.module)

    def _weight_device(self) -> torch.device | None:
        return next((tensor.device for tensor in [*self.parameters(), *self.buffers()]), None)

    def _build(self, input_shape: Any, *others: Any, **further: Any) -> None:
        if self.built:
            return
        self.own_listed_modules()
        self._is_being_built = True
        with inference.creating_weights():
            try:
                module = self.build(input_shape, *others, **further)
            except (ValueError, TypeError) as error:
                raise type(error)(f"{describe_operation(self)} cannot be built for input of shape {input_shape}: {error}") from error
            finally:
                self._is_being_built = False
            if module is not None:
                if not self.training:
                    module.eval()
                self._adopt(module)
                self._initialize()
        self.own_listed_modules()
        self.built, self.built_for = True, input_shape
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)

    def own_listed_modules(self) -> None:
        """Own the modules that a user's class keeps in lists, tuples and dicts, as it owns those in attributes: `blocks_0`, `blocks_1`."""
        if type(self).call is Layer.call:
            return
        kept = {name: value for name, value in vars(self).items() if isinstance(value, (list, tuple, dict)) and name not in _OUR_ATTRIBUTES}
        for name, value in kept.items():
            for index, part in enumerate(inference.leaves_of(value)):
                if isinstance(part, nn.Module) and part not in self._modules.values():
                    self._modules[f"{name}_{index}"] = part

    def _adopt(self, module: nn.Module) -> None:
        """Make the module's weights this layer's own: one set of tensors, known as `dense_1.weight`, not `dense_1.module.weight`."""
        if self.dtype != torch.get_default_dtype() and self.weight_map:
            module.to(self.dtype)
        object.__setattr__(self, "module", module)
        self.training = module.training
        self._parameters = module._parameters
        self._buffers = module._buffers
        self._non_persistent_buffers_set = module._non_persistent_buffers_set
        if isinstance(self.activation, nn.Module) and self.activates_outputs:
            module._modules["activation"] = self.activation
        self._modules = module._modules

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Change all tensors, as torch does for `to`, `double` and the like; weights that are made later are of the type of a cast."""
        for layer in self.sublayers():
            layer.dtype = fn(torch.empty(0, dtype=layer.dtype, device="cpu")).dtype
        if self.module is not None:
            self.module._apply(fn, recurse)
            return self
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """A copy of a layer stands in no graph."""
        return {**self.__dict__, "_nodes": []}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.given_name or self.automatic_name or '(unnamed)'}>"


Layer.build = whole(Layer.build)  # type: ignore[method-assign]


_OUR_ATTRIBUTES = frozenset(("_modules", "built_for", "_arguments", "_stack", "_views", *vars(Layer())))
"""Attributes of a layer, and of the models, in which a user's class keeps nothing of its own."""


def _all_steps(tensor: torch.Tensor) -> torch.Tensor:
    return torch.ones(tensor.shape[:2], dtype=torch.bool, device=tensor.device)


def _call_arguments(cls: type, cache: dict[type, tuple[str, ...]] = {}) -> tuple[str, ...]:  # noqa: B006 - a cache for the process
    if cls not in cache:
        cache[cls] = tuple(inspect.signature(cls.call).parameters)  # type: ignore[attr-defined]
    return cache[cls]
