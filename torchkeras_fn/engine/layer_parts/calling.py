"""`Called`: what happens when a layer is called: on symbolic tensors it is drawn, on tensors it is built, if need be, and runs."""

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from torchkeras_fn.engine.basics.modes import mode_of
from torchkeras_fn.engine.basics.nested import leaves_of, map_only
from torchkeras_fn.engine.drawing import inferring
from torchkeras_fn.engine.drawing.connections import Connections, shapes_of
from torchkeras_fn.engine.drawing.fixed_batch import with_fixed_batch
from torchkeras_fn.engine.drawing.incoming import as_floats, as_tensors, carried_mask, carry_mask, check_inputs
from torchkeras_fn.engine.drawing.unheld_layers import called_with_care
from torchkeras_fn.engine.layer_parts.additions import Additions, collecting
from torchkeras_fn.engine.layer_parts.building import further_shapes
from torchkeras_fn.engine.layer_parts.hooks import Hooked
from torchkeras_fn.engine.layer_parts.trained import Trained
from torchkeras_fn.engine.symbolic import KerasTensor, calls_symbolic, describe_operation, is_symbolic, record, symbolic_leaves
from torchkeras_fn.portion import of_sum


class Called(Additions, Connections, Hooked, Trained):
    """The part of a layer that is called.

    >>> from torchkeras_fn.layers import Dense, Input
    >>> layer = Dense(2)
    >>> layer(Input(shape=(3,))).shape, layer(torch.ones(1, 3)).shape
    ((None, 2), torch.Size([1, 2]))
    """

    inline: ClassVar[bool] = False
    """`call` is made of torch functions alone, so the lowering writes those instead of a call of the layer."""
    module_takes: frozenset[str] = frozenset()
    """What the torch module takes by keyword besides the inputs, such as `mask`: it is handed on."""
    wraps_module: bool = False
    """The torch module is the user's, and is given all arguments as they come: in their places, and by the names that its `forward` has."""
    activates_outputs: ClassVar[bool] = True
    """`activation` is applied to what the torch module gives; otherwise it acts inside the module, as in a recurrent cell."""
    needs_floats: ClassVar[bool] = False
    """Integer input, such as the bytes of an image, is cast to a float type, and floats to that of the weights."""
    builds_itself: ClassVar[bool] = False
    """`build` alone does all that building takes, as in models; otherwise what it returns is taken over, by whomever it is called."""
    makes_mask: ClassVar[bool] = False
    """The layer gives its outputs a mask, whether or not the inputs come with one."""
    supports_masking: bool = False
    input_spec: Any = None
    """What the inputs must be: an `InputSpec`, or a list with one for each."""
    _is_users: ClassVar[bool] = False
    """Whether the class was written by a user, who may write to the inputs."""
    activation: Any
    activity_regularizer: Any
    _writes_to_inputs: dict[bool, bool]
    _build: Callable[..., None]

    # ------------------------------------------------------------------ what a layer overrides

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs. `training` and `mask` are passed to a `call` that names them."""
        if self.inline:
            return self.finish(inputs)
        if self.module is None:
            return self.call_drawn(inputs, *args, **kwargs)
        if args and not self.wraps_module and (args[0] is None or isinstance(args[0], bool)):  # which Keras takes behind the inputs
            args, kwargs = args[1:], {"training": args[0], **kwargs}
        if "training" in kwargs and "training" not in self.module_takes:  # as the `call` of a subclass hands it on
            mode = kwargs.pop("training")
            with contextlib.nullcontext() if mode is None else mode_of(self.module, training=bool(mode)):
                return self.finish(self.module(self.prepare(inputs), *args, **kwargs))
        return self.finish(self.module(self.prepare(inputs), *args, **kwargs))

    def _call_by_names(self, **kwargs: Any) -> Any:
        """Call a torch module of the user's where no argument came without its name."""
        return self.finish(self.module(**kwargs))  # type: ignore[misc]

    def call_drawn(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs where there is no torch module: a model runs its graph."""
        raise NotImplementedError(f"{type(self).__name__} needs a call(inputs), or a build(input_shape) that returns a torch module.")

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

    # ------------------------------------------------------------------ calling

    @classmethod
    def is_inlined(cls) -> bool:
        """Return whether models run the functions that `call` is made of, and not the layer, as they do where a user's class changed it."""
        return cls.inline and not (cls._is_users and any(getattr(part, "_is_users", False) and _changes_call(part) for part in cls.__mro__))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not args and "inputs" in kwargs:
            args = (kwargs.pop("inputs"),)
        if not args and self.needs_floats:
            raise TypeError(f"{describe_operation(self)} is called with its inputs first, layer(inputs). It was given {list(kwargs)}.")
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
            if not any(isinstance(leaf, torch.Tensor) for leaf in leaves_of(first)):
                kind = f"{type(first).__module__}.{type(first).__name__}".removeprefix("builtins.")
                raise ValueError(
                    f"{describe_operation(self)} was called on {first!r} of type {kind}. "
                    "Expected symbolic tensors from this library's Input(...), or torch tensors."
                )
            self._build(self.build_shape(*args, **kwargs), **further_shapes(type(self), args, kwargs))
        if self.input_spec is not None:
            check_inputs(self.input_spec, args[0] if args else next(iter(kwargs.values())), self)
        in_order = _call_arguments(type(self))[1 : len(args) + 1]
        masks = [carried_mask(argument) for argument in args]
        if self.needs_floats and not self._may_keep_its_type(args[0]):  # what is cast carries no mask
            args = (as_floats(args[0], self.dtype), *args[1:])
        if self.needs_floats and (len(args) > 1 or kwargs):
            args, kwargs = self._further_floats(args, kwargs)
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
        with in_mode, contextlib.nullcontext() if type(self).call is Called.call else inferring.untouched(self):
            is_careful = self._writes_to_inputs.get(self.training, self._is_users)
            by_names = self.wraps_module and not args and type(self).call is Called.call
            call = self._call_by_names if by_names else self.call
            outputs = called_with_care(self, call, args, kwargs) if is_careful else call(*args, **kwargs)
        if self.activity_regularizer is not None:
            for part in leaves_of(outputs):
                self.add_term(of_sum(self.activity_regularizer(part)))
        if is_masked or self.makes_mask or mask is not None:
            is_said = type(self).compute_mask is not Called.compute_mask  # otherwise a mask that a layer inside made goes first
            carry_mask(outputs, self._mask_of_outputs(args[0] if args else None, mask), in_place_of_others=is_said)
        return outputs

    def _mask_of_outputs(self, inputs: Any, mask: Any) -> Any:
        """What `compute_mask` returns; drawing hands no masks on, so what a user's makes of none is no matter there."""
        try:
            return self.compute_mask(inputs, mask)
        except Exception:
            if mask is None and inferring.is_inferring():
                return None
            raise

    def _needs_only_its_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether nothing is to be done around `call`, as for the usual layer of this library's, once it is built, on a plain tensor."""
        return (
            self.built
            and type(self).call is Called.call
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

    def _further_floats(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the floats behind the first in the layer's own type; masks and indices stay as they are."""

        def own(value: Any) -> Any:
            is_float = isinstance(value, (torch.Tensor, KerasTensor)) and value.dtype.is_floating_point
            return as_floats(value, self.dtype) if is_float else value

        return (*args[:1], *map(own, args[1:])), {name: own(value) for name, value in kwargs.items()}

    def call_takes(self, argument: str) -> bool:
        """Return whether `call` names an argument, such as `training` or `mask`, or the torch module takes it."""
        return argument in self.module_takes or argument in _call_arguments(type(self))

    def _draw(self, *args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()))
        for part in leaves_of(first):
            if not isinstance(part, (KerasTensor, torch.Tensor)):
                raise ValueError(
                    f"{describe_operation(self)} was called on {part!r} of type {type(part).__name__}, which is not symbolic. "
                    "Expected what Input(...) or another layer returned."
                )
        self._build(self.build_shape(*args, **kwargs), **({} if self.built else further_shapes(type(self), args, kwargs)))
        if self.input_spec is not None:
            check_inputs(self.input_spec, first, self)
        if self.needs_floats and args:
            args, kwargs = self._further_floats((as_floats(first, self.dtype), *args[1:]), kwargs)
        outputs = record(self, args, kwargs, function=self._inferred, device=self._weight_device())
        if self._has_hooks() and not self._is_called_in_models():
            self._warn_of_hooks()
        if not is_symbolic(outputs):
            raise ValueError(f"{describe_operation(self)} returned {outputs!r} of type {type(outputs).__name__}. A layer returns tensors.")
        if any(tensor.node.operation is not self for tensor in symbolic_leaves(outputs)):
            return self.draw_with_others(*args, **kwargs)
        self._nodes.append(symbolic_leaves(outputs)[0].node)
        return outputs

    def draw_with_others(self, *args: Any, **kwargs: Any) -> Any:
        """Draw a call that uses symbolic tensors besides those it is given, such as those that a function closes over.

        Raises `ValueError`, as the parts of a model hand their tensors on as arguments, unless overridden.
        """
        raise ValueError(
            f"{describe_operation(self)} uses symbolic tensors that are not among its arguments. "
            "Give them to it: layer([inputs, others]), with a call that takes the list."
        )

    def _is_called_in_models(self) -> bool:
        """Whether the models that the layer is drawn into call it, and not what it is made of."""
        has_forward = self._is_users and type(self).forward is not Called.forward
        return self.builds_itself or not (self.is_inlined() or type(self).call is Called.call and not has_forward)

    def _run_in_models(self) -> nn.Module | None:
        if not self._nodes or self._is_called_in_models():
            return self
        is_all = type(self).prepare is Called.prepare and type(self).finish is Called.finish
        return self.module if is_all and (self.activation is None or not self.activates_outputs) else None

    def _inferred(self, *args: Any, **kwargs: Any) -> Any:
        """Run once in inference mode, leaving every module's mode as it was."""
        with mode_of(*self._roots(), training=False), collecting():
            try:
                return self.forward(*args, **kwargs)
            except Exception:
                if self.call_takes("mask") and kwargs.get("mask") is None and args:
                    with contextlib.suppress(Exception):  # a `call` that needs a mask runs with one that hides nothing
                        return self.forward(*args, **{**kwargs, "mask": map_only(torch.Tensor, _all_steps, args[0])})
                outputs = self._as_declared(args)
                if outputs is None:
                    outputs = with_fixed_batch(self.forward, args, kwargs)
                if outputs is None:
                    raise
                return outputs

    def _as_declared(self, args: Sequence[Any]) -> Any:
        """Tensors of the shapes that a `compute_output_shape` of the user's says; `None` where there is none, or it does not say enough."""
        declared = "compute_output_shape" in vars(self) or type(self).compute_output_shape is not Called.compute_output_shape
        tensors = [leaf for leaf in leaves_of(args[:1]) if isinstance(leaf, torch.Tensor)]
        if not declared or not tensors or not tensors[0].is_meta:  # without rows it may fail for want of them
            return None
        shape = self.compute_output_shape(map_only(torch.Tensor, _shape_of, args[0]))
        are_several = isinstance(shape, (list, tuple)) and bool(shape) and isinstance(shape[0], (list, tuple))
        shapes = list(shape) if are_several else [shape]
        if any(None in one[1:] for one in shapes):  # this does not tell what torch would need to know
            return None
        rows, kind, device = tensors[0].shape[0], self.dtype, tensors[0].device
        made = [torch.empty((rows if one[0] is None else one[0], *one[1:]), dtype=kind, device=device) for one in shapes]
        return made if are_several else made[0]

    def _roots(self) -> tuple[nn.Module, ...]:
        return (self,) if self.module is None else (self, self.module)

    def _weight_device(self) -> torch.device | None:
        return next((tensor.device for tensor in [*self.parameters(), *self.buffers()]), None)


def _shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _all_steps(tensor: torch.Tensor) -> torch.Tensor:
    return torch.ones(tensor.shape[:2], dtype=torch.bool, device=tensor.device)


def _changes_call(cls: type) -> bool:
    return "call" in vars(cls) or "forward" in vars(cls)


def _call_arguments(cls: type, cache: dict[type, tuple[str, ...]] = {}) -> tuple[str, ...]:  # noqa: B006 - a cache for the process
    if cls not in cache:
        cache[cls] = tuple(inspect.signature(cls.call).parameters)  # type: ignore[attr-defined]
    return cache[cls]
