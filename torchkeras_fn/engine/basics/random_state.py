"""The random generators that a program has, as plain values: Python's, numpy's, torch's, those of devices, and those of objects."""

import contextlib
import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from torchkeras_fn.engine.device import is_here

States = dict[str, Any]
"""States of generators by their kind: `python`, `numpy`, `torch`."""
_PLACES = {"pos": 624, "buffer_pos": 4}
"""Where numpy's generators read next, which they do not check: the most that it can be."""


def random_state() -> States:
    """Return the states of the generators that all share: Python's, numpy's and torch's on the CPU.

    >>> state = random_state()
    >>> first = random.random(), np.random.rand(), torch.rand(1).item()
    >>> set_random_state(state)
    >>> first == (random.random(), np.random.rand(), torch.rand(1).item())
    True
    """
    return {"python": _python_state(random), "numpy": _plain(np.random.get_state(legacy=False)), "torch": torch.get_rng_state()}


def set_random_state(states: Mapping[str, Any]) -> None:
    """Set those of the shared generators that are named to what `random_state` returned."""
    if "python" in states:
        _set_python_state(random, states["python"])
    if "numpy" in states:
        np.random.set_state(_not_plain(states["numpy"]))
    if "torch" in states:
        torch.set_rng_state(states["torch"])


def check_random_state(states: Any) -> None:
    """Raise `ValueError` for what `set_random_state` could not take. Nothing is set.

    >>> check_random_state(random_state())
    """
    spare = {"python": random.Random(), "numpy": np.random.RandomState(), "torch": torch.Generator()}
    with _as_value_errors():
        for kind in states.keys() & spare.keys():
            _set(spare[kind], {"device": "cpu", **states})


def device_states() -> States:
    """Return the states of the generators of all accelerators, by the type of the device.

    >>> set_device_states(device_states())
    """
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        return {}
    module = torch.get_device_module(device)
    return {device.type: module.get_rng_state_all() if hasattr(module, "get_rng_state_all") else [module.get_rng_state()]}


def set_device_states(states: Mapping[str, Any]) -> None:
    """Set the generators of those accelerators that are there."""
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None or device.type not in states:
        return
    module = torch.get_device_module(device)
    saved = states[device.type][: torch.accelerator.device_count()]
    for index, state in enumerate(saved):
        if hasattr(module, "get_rng_state_all"):
            module.set_rng_state(state, index)
        else:
            module.set_rng_state(state)


def generators_of(holder: Any) -> States:
    """Return the states of the generators that an object keeps in its attributes, by their names.

    >>> class Noise:
    ...     def __init__(self):
    ...         self.random = np.random.default_rng(0)
    >>> noise = Noise()
    >>> state = generators_of(noise)
    >>> first = noise.random.random()
    >>> set_generators_of(noise, state)
    >>> first == noise.random.random()
    True
    """
    states = {name: _state_of(value) for name, value in _attributes(holder).items()}
    return {name: state for name, state in states.items() if state is not None}


def set_generators_of(holder: Any, states: Mapping[str, Any]) -> None:
    """Set the generators in an object's attributes; one of torch's that is not there yet, as it is made when needed, is made.

    Those of another type of device than the object's own say nothing about it, and are passed over.
    """
    for name, state in states.items():
        value = _attributes(holder).get(name)
        if value is None and "torch" in state and is_here(state["device"]):
            value = torch.Generator(state["device"])
            setattr(holder, name, value)
        _set(value, state)


def check_generators_of(holder: Any, states: Any) -> None:
    """Raise `ValueError` for what `set_generators_of` could not take. Nothing is set.

    >>> class Noise:
    ...     def __init__(self):
    ...         self.random = random.Random(0)
    >>> check_generators_of(Noise(), {"random": {"python": None}})
    Traceback (most recent call last):
        ...
    ValueError: it has no state of a random generator: TypeError: cannot unpack non-iterable NoneType object
    """
    with _as_value_errors():
        for name, state in states.items():
            value = _attributes(holder).get(name)
            if value is None and "torch" in state and is_here(state["device"]):
                _set(torch.Generator(state["device"]), state)
            elif _state_of(value) is not None:
                _set(torch.Generator(value.device) if isinstance(value, torch.Generator) else copy.deepcopy(value), state)


@contextlib.contextmanager
def _as_value_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(f"it has no state of a random generator: {type(error).__name__}: {error!s:.200}") from error


def _set(generator: Any, state: Any) -> None:
    """Set a generator of any kind; what is none is passed over, as is a state of another type of device."""
    if isinstance(generator, torch.Generator):
        if generator.device.type == torch.device(state["device"]).type:
            generator.set_state(state["torch"])
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = _not_plain(state["numpy"])
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(_not_plain(state["numpy"]))
    elif isinstance(generator, random.Random):
        _set_python_state(generator, state["python"])


def same(one: Any, other: Any) -> bool:
    """Return whether two states are equal.

    >>> same(random_state(), random_state())
    True
    """
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


def _attributes(holder: Any) -> dict[str, Any]:
    found: dict[str, Any] = getattr(holder, "__dict__", {})
    return found


def _state_of(value: Any) -> States | None:
    if isinstance(value, torch.Generator):
        return {"torch": value.get_state(), "device": str(value.device)}
    if isinstance(value, np.random.Generator):
        with contextlib.suppress(NotImplementedError):  # the system's own randomness has no state
            return {"numpy": _plain(value.bit_generator.state)}
    if isinstance(value, np.random.RandomState):
        return {"numpy": _plain(value.get_state(legacy=False))}
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return {"python": _python_state(value)}
    return None


def _python_state(generator: Any) -> list[Any]:
    version, numbers, gauss = generator.getstate()
    return [version, np.array(numbers, dtype=np.uint32), gauss]


def _set_python_state(generator: Any, state: Any) -> None:
    version, numbers, gauss = state
    generator.setstate((version, tuple(numbers.tolist()), gauss))


def _plain(state: Any) -> Any:
    """A state of numpy's with whole numbers of more than 64 bits as text."""
    if isinstance(state, Mapping):
        return {name: _plain(value) for name, value in state.items()}
    return hex(state) if isinstance(state, int) and abs(state) >= 2**63 else state


def _not_plain(state: Any) -> Any:
    if isinstance(state, Mapping):
        for name, most in _PLACES.items():
            if name in state and not 0 <= state[name] <= most:
                raise ValueError(f"{name!r} is {state[name]!r:.80}, which is no place among {most} numbers")
        return {name: _not_plain(value) for name, value in state.items()}
    return int(state, 16) if isinstance(state, str) and state.startswith("0x") else state
