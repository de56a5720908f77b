"""`Weighted`: a torch module that knows its weights as Keras does: by name, in Keras' order and layout, with their options."""

import itertools
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from torchkeras_fn import config, constraints, initializers, regularizers
from torchkeras_fn.engine.basics.walking import modules_of
from torchkeras_fn.engine.device import to_host
from torchkeras_fn.engine.drawing import inferring
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight, Weight, WeightOptions
from torchkeras_fn.engine.layer_parts.weight_names import give_name
from torchkeras_fn.engine.symbolic import describe_operation
from torchkeras_fn.metrics.state import State
from torchkeras_fn.numpy_arrays import from_numpy

ACTIVATIONS = ("activation", "recurrent_activation")
"""The attributes under which a layer may hold another one, or a torch module, that activates what it computes."""


class Weighted(nn.Module):
    """The base of `Layer` that keeps weights: those of `module`, mapped by `weight_map`, or the module's own.

    >>> class Scale(Weighted):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = self.add_weight("factor", (3,), initializer="ones")
    >>> Scale().get_weights()
    [array([1., 1., 1.], dtype=float32)]
    """

    weight_map: ClassVar[Mapping[str, Weight]] = {}
    """Where the Keras weights are in `module`; without it the module's own parameters and buffers are the weights."""
    module: nn.Module | None = None
    _of_module: frozenset[str] = frozenset()
    """The names of the module's own parts, where a user's class may have made others beside them, in `_made_before` or later."""
    _made_before: frozenset[str] = frozenset()
    built: bool = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        nn.Module.__init__(self)  # already here: in Keras a layer may be kept in an attribute before `super().__init__()`
        return self

    def __init__(self, dtype: Any = None):
        self.dtype = config.dtype(dtype)
        self._weight_options: dict[str, WeightOptions] = {}

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
        *leading: Any,
        name: str | None = None,
        shape: Any = None,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool = True,
        constraint: Any = None,
        **ignored: Any,
    ) -> torch.Tensor:
        """Create a weight of the layer: an `nn.Parameter`, or a buffer where it is not trainable.

        Arguments without a keyword are `name, shape, dtype, initializer` as in Keras 2, or `shape, initializer, dtype`
        as in Keras 3. The initializer is `glorot_uniform` unless given, `zeros` for integers. Assigned to an attribute, the weight is known
        in `state_dict()` under the attribute's name. Read from there, one that is not trainable has `assign`, `assign_add` and
        `assign_sub`, but in code that torch compiles or exports; there, and for parameters, `torch.no_grad()` and torch's
        own methods, or `backend.update_add`, do the same.

        >>> layer = Weighted()
        >>> layer.kernel = layer.add_weight((3, 2), "zeros")
        >>> list(layer.state_dict())
        ['kernel']
        """
        if leading:
            by_name = leading[0] is None or isinstance(leading[0], str)
            order = ("name", "shape", "dtype", "initializer") if by_name else ("shape", "initializer", "dtype")
            given = {"name": name, "shape": shape, "dtype": dtype, "initializer": initializer}
            for argument, value in zip(order, leading, strict=False):
                if given[argument] is not None:
                    raise TypeError(f"add_weight got two values for {argument!r}: {value!r} and {given[argument]!r}.")
                given[argument] = value
            if len(leading) > len(order):
                raise TypeError(f"add_weight takes at most {len(order)} arguments without a keyword: {', '.join(order)}.")
            name, shape, dtype, initializer = given.values()
        name = self._free_name((name or "weight").replace(".", "_").replace("/", "_"), numbered=name is None)
        shape = () if shape is None else (shape,) if isinstance(shape, numbers.Integral) else tuple(shape)
        if None in shape:
            raise ValueError(f"Weight {name!r} needs a shape without None, got {shape}. Give Input the sizes that weights need.")
        shape = tuple(map(int, shape))
        kind = config.dtype(dtype) if dtype else self.dtype
        initializer = initializer or ("glorot_uniform" if kind.is_floating_point else "zeros")
        options = WeightOptions(initializers.get(initializer), regularizers.get(regularizer), constraints.get(constraint))
        with inferring.creating_weights():
            value = torch.as_tensor(options.initializer(shape, dtype=kind), dtype=kind)
        self._weight_options[name] = options
        if trainable and value.is_floating_point():
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)
        weight: torch.Tensor = getattr(self, name)
        return weight if isinstance(weight, nn.Parameter) else _as_state(weight, name)

    def _free_name(self, name: str, numbered: bool) -> str:
        """A name that no attribute has, such as the `None` of a weight to come: a number is added where one has."""
        candidates = (f"{name}_{number}" for number in itertools.count(len(self._parameters) + len(self._buffers) + 1))
        return name if not (numbered or hasattr(self, name)) else next(word for word in candidates if not hasattr(self, word))

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep a weight from `add_weight` under the name of the attribute it is assigned to; share the mode with `module`."""
        if name == "training" and self.module is not None:
            self.module.training = value
        if isinstance(value, torch.Tensor):
            if isinstance(value, State):
                value = self._behind(value)
            for registered in (self.__dict__.get("_parameters", {}), self.__dict__.get("_buffers", {})):
                for known in [key for key, tensor in registered.items() if tensor is value and key != name]:
                    del registered[known]
                    if any(name in held for held in (self.__dict__, self._parameters, self._buffers, self._modules)):
                        super().__delattr__(name)
                    self._weight_options[name] = self._weight_options.pop(known, WeightOptions(None))
                    registered[name] = value
                    return
        super().__setattr__(name, value)

    def _behind(self, state: State) -> torch.Tensor:
        """The plain tensor that was read as a state: what torch compiles, exports and copies is of no class of ours."""
        kept = self.__dict__["_buffers"].get(state.name)
        return kept if kept is not None and kept.data_ptr() == state.data_ptr() else state.as_subclass(torch.Tensor)

    def _initialize(self) -> None:
        with torch.no_grad():
            for weight in self._mapped_weights() if self.weight_map else self.named_weights():
                if weight.options.initializer is not None and weight.name not in self._made_before:
                    view = weight.view
                    weight.write(torch.as_tensor(weight.options.initializer(tuple(view.shape), dtype=view.dtype)))

    def sublayers(self) -> Iterator[Any]:
        """Yield this layer and every layer inside it."""
        return iter(weighted_in(self))

    def named_weights(self) -> list[NamedWeight]:
        """Return the weights, each once, in Keras' order: this layer's own, the trained first, then layer by layer those inside."""
        nothing = WeightOptions(None)
        if self.weight_map and self.module is not None:
            held = {getattr(self, name, None): name for name in reversed(ACTIVATIONS)}  # of one that stands for both, the first name
            mapped = [*self._mapped_weights(), *weights_inside((name, module) for module, name in reversed(held.items()))]
            return mapped if not self._of_module else self._with_own(mapped, len(self._mapped_weights()), held)
        own = [*self._parameters.items(), *((k, b) for k, b in self._buffers.items() if k not in self._non_persistent_buffers_set)]
        weights = [NamedWeight(k, t, None, self._weight_options.get(k, nothing)) for k, t in own if t is not None]
        found: dict[int, NamedWeight] = {}
        for weight in (*weights, *weights_inside(self._modules.items())):
            found.setdefault(id(weight.tensor), weight)  # of a layer in several attributes the first
        return list(found.values())

    def _with_own(self, mapped: list[NamedWeight], count: int, held: Mapping[Any, str]) -> list[NamedWeight]:
        """Put the weights that a user's class made beside the module's among those, of which the last were not of the layer itself."""
        own, made_before = self._own_weights(), self._made_before
        before, after = [w for w in own if w.name in made_before], [w for w in own if w.name not in made_before]
        weights = sorted([*before, *mapped[:count], *after], key=lambda weight: not isinstance(weight.tensor, nn.Parameter))
        return [*weights, *mapped[count:], *weights_inside(part for part in self._own_parts() if part[1] not in held)]

    def _own_weights(self) -> list[NamedWeight]:
        """The weights that a user's class made beside those of the module."""
        tensors = {**self._parameters, **{k: b for k, b in self._buffers.items() if k not in self._non_persistent_buffers_set}}
        own = [(key, tensor) for key, tensor in tensors.items() if tensor is not None and key not in self._of_module]
        return [NamedWeight(key, tensor, None, self._weight_options.get(key, WeightOptions(None))) for key, tensor in own]

    def _own_parts(self) -> list[tuple[str, Any]]:
        """The layers and modules that a user's class keeps beside those of the module, by their names."""
        return [(key, part) for key, part in self._modules.items() if key not in self._of_module]

    def _mapped_weights(self) -> list[NamedWeight]:
        found = [(name, weight, self._read(weight.path)) for name, weight in self.weight_map.items()]
        return [
            NamedWeight(name, tensor, weight.axes, self._weight_options.get(name, WeightOptions(None)), weight.blocks)
            for name, weight, tensor in found
            if tensor is not None
        ]

    def __getattr__(self, name: str) -> Any:
        """A weight of the torch module under its Keras name and in Keras' layout; gradients pass, and `no_grad` writes change it."""
        known = getattr(type(self), name, None)
        if isinstance(known, property) and known.fget:
            return known.fget(self)  # let it say itself why it has no value, where torch would say that there is no such attribute
        if self.__dict__.get("module") is not None and name in self.weight_map:
            weight = self.weight_map[name]
            tensor = self._read(weight.path)
            return None if tensor is None else NamedWeight(name, tensor, weight.axes, WeightOptions(None), weight.blocks).arranged(tensor)
        found = super().__getattr__(name)
        return _as_state(found, name) if type(found) is torch.Tensor and name in self._weight_options else found

    def _read(self, path: str) -> torch.Tensor | None:
        owner: Any = self.module
        for part in path.split("."):
            owner = getattr(owner, part, None)
        return owner if isinstance(owner, torch.Tensor) else None

    @property
    def weights(self) -> list[torch.Tensor]:
        """All weights, as torch tensors in torch's layout, in Keras' order. Each has a `name`, such as `dense_1/kernel:0`."""
        return [weight.tensor for weight in self.name_weights()]

    def name_weights(self) -> list[NamedWeight]:
        """Return the weights, as `named_weights` does, after their tensors were given names."""
        weights = self.named_weights()
        for weight in weights:
            give_name(weight.tensor, self.full_name(weight))
        return weights

    def full_name(self, weight: NamedWeight) -> str:
        """What the tensor of a weight is called, as in Keras 2."""
        return f"{weight.name}:0"

    @property
    def variables(self) -> list[torch.Tensor]:
        """All weights: what `weights` gives."""
        return self.weights

    def get_weights(self) -> list[np.ndarray]:
        """Return the weights as numpy arrays in Keras' order and layout: the kernel of `Dense` is `(inputs, units)`."""
        return [to_host(weight.view).numpy().copy() for weight in self.named_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights from arrays in Keras' order and layout. Raises `ValueError`, and changes nothing, where they do not fit."""
        named = self.named_weights()
        if len(weights) != len(named):
            raise ValueError(
                f"{describe_operation(self)} has {len(named)} weights {[w.name for w in named]}, but {len(weights)} arrays were given."
            )
        arrays = [w.detach() if isinstance(w, torch.Tensor) else from_numpy(np.asarray(w)) for w in weights]
        for weight, array in zip(named, arrays, strict=True):
            if weight.shape != array.shape:
                raise ValueError(
                    f"Weight {weight.name!r} of {describe_operation(self)} has shape {weight.shape}, "
                    f"but the array given for it has shape {tuple(array.shape)}."
                )
        with torch.no_grad():
            for weight, array in zip(named, arrays, strict=True):
                weight.write(array)

    def count_params(self) -> int:
        """Return the number of scalars in the weights. Raises `ValueError` for a layer that is not built."""
        weights = {id(weight.tensor): weight.tensor for weight in self.named_weights()}
        if not self.built and not weights:
            raise ValueError(f"{describe_operation(self)} is not built yet, so its weights cannot be counted. Call it on an input first.")
        return sum(weight.numel() for weight in weights.values())


def _as_state(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """A weight that is not trained as its layer's code sees it: with the methods of Keras' variables, but where torch traces."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or type(tensor) is not torch.Tensor:
        return tensor
    state = tensor.as_subclass(State)
    state.name = name
    return state


def weights_inside(modules: Iterable[tuple[str, Any]]) -> Iterator[NamedWeight]:
    """The weights of layers and torch modules that a layer holds under these names; what is neither has none."""
    for name, module in modules:
        if isinstance(module, Weighted):
            yield from (weight._replace(name=f"{name}/{weight.name}") for weight in module.named_weights())
        elif isinstance(module, nn.Module):
            tensors = [*module.named_parameters(prefix=name), *_kept_buffers(module, name)]
            yield from (NamedWeight(key, tensor, None, WeightOptions(None)) for key, tensor in tensors)


def _kept_buffers(module: nn.Module, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The buffers of a module and of those inside it that a `state_dict` has, by their paths."""
    left_out = {id(part._buffers[key]) for part in module.modules() for key in part._non_persistent_buffers_set}
    return ((path, buffer) for path, buffer in module.named_buffers(prefix=prefix) if id(buffer) not in left_out)


def weighted_in(*modules: nn.Module) -> list[Any]:
    """Return what has Keras' weights among modules and those inside them, and the layers of which a model in there runs the modules."""
    found, usual = [], Weighted.sublayers
    are_usual = True
    for module in modules_of(*modules):
        if isinstance(module, Weighted):
            found.append(module)
            are_usual = are_usual and type(module).sublayers is usual
    if are_usual:
        return found
    inside = [[part] if type(part).sublayers is usual or part in modules else part.sublayers() for part in found]
    return list({id(layer): layer for layers in inside for layer in layers}.values())
