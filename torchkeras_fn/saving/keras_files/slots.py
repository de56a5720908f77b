"""What an optimizer remembers of each weight, in the order in which Keras writes it, and in torch's terms."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.saving.keras_files.hdf5 import Stored
from torchkeras_fn.saving.keras_files.state import LayersOf, parts_of, weights_of

_PARTS = {"momentum": "exp_avg", "velocity": "exp_avg_sq"}


class Slots(NamedTuple):
    """The state of an optimizer for each weight: `together` stand weight by weight, `after` one kind after the other.

    Both hold pairs of the name in Keras and that in torch. `once` is the number of single figures at the end.

    >>> Slots(after=(("momentum", "momentum_buffer"),)).together
    ()
    """

    together: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    once: int = 0


def _sgd(optimizer: Any) -> Slots:
    return Slots(after=(("momentum", "momentum_buffer"),) if optimizer.momentum else ())


def _rmsprop(optimizer: Any) -> Slots:
    kinds = [("velocity", "square_avg")]
    kinds += [("momentum", "momentum_buffer")] if optimizer.momentum > 0 else []
    return Slots(after=(*kinds, *([("average_gradient", "grad_avg")] if optimizer.centered else [])))


def _adam(optimizer: Any) -> Slots:
    return Slots(tuple(_PARTS.items()), (("velocity_hat", "max_exp_avg_sq"),) if optimizer.amsgrad else ())


_SLOTS: dict[str, Callable[[Any], Slots]] = {
    "SGD": _sgd,
    "RMSprop": _rmsprop,
    "Adam": _adam,
    "AdamW": _adam,
    "Adagrad": lambda _: Slots(after=(("accumulator", "sum"),)),
    "Adadelta": lambda _: Slots((("accumulated_grad", "square_avg"), ("accumulated_delta_var", "acc_delta"))),
    "Adamax": lambda _: Slots((("momentum", "exp_avg"), ("norm", "exp_inf"))),
    "Nadam": lambda _: Slots(tuple(_PARTS.items()), once=1),
    "Lamb": lambda _: Slots(tuple(_PARTS.items())),
    "Lion": lambda _: Slots(after=(("momentum", "exp_avg"),)),
    "Ftrl": lambda _: Slots((("accumulator", "sum"), ("linear", "linear"))),
    "Muon": lambda _: Slots(tuple(_PARTS.items())),
}
_OF_THE_SCALE = ("iteration", "learning_rate", "step_counter", "dynamic_scale")
"""What a `LossScaleOptimizer` keeps before what the optimizer inside keeps."""
_MEAN = "mean of the weight"
"""Stands for the running means that `use_ema` keeps, which are no state of a torch optimizer."""
_GATHERED = "sum of the gradients"
"""Stands for the gradients that are gathered over several batches, which are none either."""
_COUNTED = frozenset(("Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "RMSprop"))
"""Optimizers whose number of steps torch keeps with each weight, as a tensor."""


class Kept(NamedTuple):
    """A place in the list that Keras writes: the weight, and the names there and in torch.

    >>> Kept(None, "momentum", "exp_avg").ours
    'exp_avg'
    """

    weight: Any
    theirs: str
    ours: str


def _places(model: Any, layers_of: LayersOf | None, grouped: bool = False) -> list[Kept] | None:
    """The list of what Keras writes for a model's optimizer; `None` for one that is written otherwise."""
    kind = _kind_of(model.optimizer)
    if kind not in _SLOTS:
        return None
    slots, weights = _SLOTS[kind](_inner_of(model.optimizer)), trained_weights(model, layers_of)
    if grouped:
        return [Kept(weight, *names) for names in (*slots.together, *slots.after) for weight in weights]
    found = [Kept(weight, "average", _MEAN) for weight in weights] if model.optimizer.use_ema else []
    found += [Kept(weight, "gradient_accumulator", _GATHERED) for weight in weights] if _gathers(model.optimizer) else []
    found += [Kept(weight, *names) for weight in weights for names in slots.together if _is_kept(model.optimizer, weight, names[1])]
    return found + [Kept(weight, *names) for names in slots.after for weight in weights]


def _inner_of(optimizer: Any) -> Any:
    """The optimizer that knows what the steps are: the one inside a `LossScaleOptimizer`."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _kind_of(optimizer: Any) -> str:
    return type(_inner_of(optimizer)).__name__


def _is_kept(optimizer: Any, weight: NamedWeight, name: str) -> bool:
    """Whether something is kept for this weight: `Muon` has no mean squares of those that take no step of Adam's."""
    if _kind_of(optimizer) != "Muon" or name != "exp_avg_sq":
        return True
    (group,) = optimizer.param_groups
    return any(other is weight.tensor and alone for other, alone in zip(group["params"], group["by_adam"], strict=True))


def trained_weights(model: Any, layers_of: LayersOf | None = None) -> list[NamedWeight]:
    """Return the weights that a model's optimizer trains, in Keras' order."""
    trained = {id(parameter) for parameter in model.optimizer.parameters}
    return [weight for weight in weights_of(model, layers_of) if id(weight.tensor) in trained]


def _gathers(optimizer: Any) -> bool:
    return bool(optimizer._batches_per_step > 1)


def _has_rate(optimizer: Any) -> bool:
    """Whether Keras keeps the learning rate as a number: one with a `decay` is written as a schedule."""
    return isinstance(optimizer._rate_source, float) and not optimizer.decay


# ---------------------------------------------------------------------- to Keras


def written_state(model: Any) -> list[tuple[str, torch.Tensor]]:
    """Return the optimizer's state as Keras lists it: names and values. A state that Keras keeps otherwise is left out, with a warning."""
    optimizer, name = model.optimizer, _inner_of(model.optimizer).name
    kept = optimizer.state_dict()
    batches = optimizer.iterations * optimizer._batches_per_step + kept.get("gathered", {}).get("batches", 0)
    found = [(f"{name}/iteration", torch.tensor(batches, dtype=torch.int32))]
    if optimizer is not _inner_of(optimizer):
        scale, steps = kept["scaling"]["scale"], kept["scaling"]["steps"]
        own = [found[0][1], torch.tensor(0.0), torch.tensor(steps, dtype=torch.int32), torch.tensor(scale)]
        found = [*((f"{optimizer.name}/{part}", value) for part, value in zip(_OF_THE_SCALE, own, strict=True)), *found]
    if _has_rate(optimizer):
        found.append((f"{name}/learning_rate", torch.tensor(float(optimizer.learning_rate))))
    places = _places(model, None)
    if places is None:
        warnings.warn(
            f"Keras keeps the state of {_kind_of(optimizer)} with these options in another way: it is not written, and training "
            "goes on there with a new one.",
            UserWarning,
            stacklevel=5,
        )
        return found
    state, names = _state_by_weight(model), _names(model)
    for weight, theirs, ours in places:
        value = state.get(id(weight.tensor), {}).get(ours)
        value = _begin(optimizer, weight, ours) if value is None else value.detach()
        found.append((f"{name}/{names[id(weight.tensor)]}_{theirs}", weight.arranged(value) * _factor(optimizer, ours)))
    if _SLOTS[_kind_of(optimizer)](_inner_of(optimizer)).once:
        products = [values["mu_product"] for values in state.values() if "mu_product" in values]
        found.append(("variable", products[0].detach().float().reshape(()) if products else torch.tensor(1.0)))
    return found


def _names(model: Any) -> dict[int, str]:
    """A name for each weight, after its layer, by the `id` of its tensor."""
    found: dict[int, str] = {}
    for part in parts_of(model):
        for weight in part.weights:
            name = f"{part.name}_{weight.name}".replace("/", "_")
            found.setdefault(id(weight.tensor), f"{name}_{len(found)}" if name in found.values() else name)
    return found


def _begin(optimizer: Any, weight: NamedWeight, name: str) -> torch.Tensor:
    value = getattr(_inner_of(optimizer), "initial_accumulator_value", 0.0) if name == "sum" else 0.0
    return torch.full_like(weight.tensor, value).detach()


def _state_by_weight(model: Any) -> dict[int, dict[str, Any]]:
    optimizer = model.optimizer
    states: dict[Any, dict[str, Any]] = {} if optimizer.torch_optimizer is None else optimizer.torch_optimizer.state
    found = {id(parameter): dict(values) for parameter, values in states.items()}
    kept = optimizer.state_dict()
    for name, tensors in ((_MEAN, kept.get("averages", ())), (_GATHERED, kept.get("gathered", {}).get("sums", ()))):
        for parameter, tensor in zip(optimizer.parameters, tensors, strict=False):
            found.setdefault(id(parameter), {})[name] = tensor
    return found


def _factor(optimizer: Any, name: str) -> float:
    """What state in torch's terms is multiplied by to be Keras': its momentum gathers steps, its sums have the loss' scale taken out."""
    if name == _GATHERED:
        scale = 1.0 if optimizer._scaling is None else optimizer._scaling.state_dict()["scale"]
        return 1.0 / scale if scale else 1.0
    if name != "momentum_buffer":
        return 1.0
    rate = float(optimizer.param_groups[0]["lr"])
    return -rate if _kind_of(optimizer) == "SGD" else rate


# ---------------------------------------------------------------------- from Keras


def take_state(
    model: Any, values: Sequence[Stored], grouped: bool = False, layers_of: LayersOf | None = None, scaling: Any = None
) -> None:
    """Take over an optimizer's state that Keras wrote; `grouped` says that one kind stands after the other, as in Keras 2.

    `scaling` is the state of the loss' scale where it stands elsewhere; it counts for an optimizer that scales the loss. What
    does not fit the optimizer begins anew, with a warning.
    """
    optimizer = model.optimizer
    places = _places(model, layers_of, grouped)
    if places is None or not values:
        return _begins_anew(model, bool(values))
    whole = values
    if optimizer is not _inner_of(optimizer):
        own, values = values[: len(_OF_THE_SCALE)], values[len(_OF_THE_SCALE) :]
        if not values or any(math.prod(part.shape) != 1 for part in [*own, values[0]]):
            return _begins_anew(model, True)
        scaling = {"scale": float(_figure(own[3])), "steps": int(_figure(own[2]))}
    if grouped and _are_like(values, places):  # so some optimizers of Keras 2.2 wrote it, without the number of steps: some at least
        kept = _torch_state(optimizer, places, [value.tensor() for value in values], 1)
        _load(optimizer, kept, 1)
        return None
    if grouped:
        values = _without_unused(values, len(places), trained_weights(model, layers_of), _kind_of(optimizer))
    counted, rest = int(_figure(values[0])), list(values[1:])
    if not 0 <= counted < 2**62:
        raise ValueError(f"the optimizer is said to have taken {counted} steps.")
    iterations, batches = divmod(counted, optimizer._batches_per_step)
    single = _SLOTS[_kind_of(optimizer)](_inner_of(optimizer)).once
    extra = len(rest) - len(places) - single
    fits = _are_like(rest[max(extra, 0) :][: len(places)], places)
    if grouped and not fits and _fits_later(model, values, layers_of):
        return take_state(model, whole, False, layers_of, scaling)
    if extra not in (0, 1) or not fits:
        return _begins_anew(model, True)
    if optimizer._scaling is not None and scaling is not None:
        optimizer._scaling.load_state_dict(scaling)  # before the sums of the gradients are brought to its scale
    found = [*(value.tensor() for value in rest[extra:][: len(places)]), *(_figure(value) for value in rest[extra:][len(places) :])]
    kept = _torch_state(optimizer, places, found, iterations)
    means, sums = ({key: found.pop(name) for key, found in kept.items() if name in found} for name in (_MEAN, _GATHERED))
    more: dict[str, Any] = {}
    if means and iterations:
        more["averages"] = [means[id(parameter)] for parameter in optimizer.parameters]
    if sums:
        more["gathered"] = {"batches": batches, "sums": [sums[id(parameter)] for parameter in optimizer.parameters]}
    return _load(optimizer, kept, iterations, more)


def _load(optimizer: Any, kept: Any, iterations: int, more: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Give an optimizer the state of each weight, by its `id`."""
    state = {**optimizer.state_dict(), "iterations": iterations, **more}
    if iterations:
        state["state"] = {number: kept[id(parameter)] for number, parameter in enumerate(optimizer.parameters) if kept.get(id(parameter))}
    optimizer.load_state_dict(state)


def _are_like(values: Sequence[Stored], places: Sequence[Kept]) -> bool:
    return [tuple(value.shape) for value in values] == [tuple(kept.weight.view.shape) for kept in places]


def _without_unused(values: Sequence[Stored], count: int, weights: Sequence[NamedWeight], kind: str) -> Sequence[Stored]:
    """The values without what Keras 2 wrote for each weight though it was not used: Adam's largest squares, and SGD's momentum."""
    unused = [tuple(value.shape) for value in values[1 + count :]]
    shapes = {"Adam": [(1,) for _ in weights], "SGD": [] if count else [tuple(weight.view.shape) for weight in weights]}.get(kind)
    return values[: 1 + count] if unused == shapes else values


def _figure(value: Stored) -> torch.Tensor:
    """Return the one number of an array. Raises `ValueError` for more."""
    if math.prod(value.shape) != 1:
        raise ValueError(f"the optimizer keeps one figure where the file has an array of shape {value.shape}.")
    return value.tensor().reshape(())


def _fits_later(model: Any, values: Sequence[Stored], layers_of: LayersOf | None) -> bool:
    """Whether the state is in the order of Keras 2.11 and later."""
    places = _places(model, layers_of) or []
    shapes = [tuple(kept.weight.view.shape) for kept in places]
    return bool(shapes) and [tuple(value.shape) for value in values[-len(shapes) :]] == shapes


def _begins_anew(model: Any, warned: bool) -> None:
    if warned:
        warnings.warn(
            f"The state of {type(model.optimizer).__name__} in the file is not as it is kept here: the optimizer begins anew.",
            UserWarning,
            stacklevel=6,
        )


def _torch_state(optimizer: Any, places: Sequence[Kept], values: Sequence[torch.Tensor], iterations: int) -> Any:
    """The state of each weight by its `id`, in torch's terms."""
    found: dict[int, dict[str, Any]] = {}
    kind = _kind_of(optimizer)
    for (weight, _, ours), value in zip(places, values, strict=False):
        tensor = torch.empty_like(weight.tensor).detach()
        weight._replace(tensor=tensor).write(value.to(tensor.dtype))
        factor = _factor(optimizer, ours)
        state = found.setdefault(id(weight.tensor), {})
        state[ours] = tensor / factor if factor else tensor
    for state in found.values():
        if kind in _COUNTED:
            state["step"] = torch.tensor(float(iterations))
        elif kind != "SGD":
            state["step"] = iterations
        if kind == "Nadam":
            state["mu_product"] = values[-1].reshape(()).float().clone()
    return found
