"""`Kept`: what an optimizer keeps from step to step, written down and taken over again, by itself or by another one."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from torchkeras_fn.optimizers.averages import Averages
from torchkeras_fn.optimizers.gradients import Gathered
from torchkeras_fn.optimizers.moving import follow_parameters, load_state
from torchkeras_fn.optimizers.option import Decay
from torchkeras_fn.optimizers.rate import Rated
from torchkeras_fn.optimizers.scaling import Scaling
from torchkeras_fn.shards import like, state_in_parts, whole


class Before(NamedTuple):
    """What an optimizer knew when it was bound before.

    Of each parameter that is its state, with the rate of its last step, its mean, and the sum of its gathered gradients.
    """

    iterations: int
    rate: float
    states: dict[torch.Tensor, tuple[float, Any]]
    set_aside: Mapping[torch.Tensor, tuple[float, Any]]
    means: dict[torch.Tensor, torch.Tensor]
    swapped: bool
    gathered: Gathered | None
    sums: dict[torch.Tensor, torch.Tensor]


def _shapes(places: Sequence[tuple[torch.Tensor, str]], states: Mapping[Any, Any]) -> list[tuple[int, ...]]:
    return [tuple(states[parameter][name].shape) for parameter, name in places]


def _on_host(tensor: torch.Tensor) -> torch.Tensor:
    tensor = whole(tensor.detach()).cpu()
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


class Kept(Rated):
    """The part of an optimizer that has a state: that of the torch optimizer, steps counted, running means, gathered gradients."""

    parameters: list[torch.Tensor]
    _averages: Averages | None
    _gathered: Gathered | None
    _scaling: Scaling | None
    _set_aside: Mapping[torch.Tensor, tuple[float, Any]] = {}
    """The state of parameters that are not trained for now, as they are frozen."""
    weight_decay = Decay()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the torch optimizer, the number of steps taken, and running means and gathered gradients."""
        state = self.torch_optimizer.state_dict() if self.torch_optimizer is not None else {}
        state["iterations"] = int(self.iterations)
        if self._averages is not None:
            state["averages"], state["swapped"] = list(self._averages.means), self._averages.swapped
        if self._gathered is not None:
            state["gathered"] = {"batches": self._gathered.batches, "sums": list(self._gathered.sums)}
        if self._scaling is not None:
            state["scaling"] = self._scaling.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        state = dict(state)
        self.iterations = int(state.pop("iterations", 0))
        averages, swapped = state.pop("averages", ()), state.pop("swapped", False)
        if self._averages is not None:
            self._averages.means, self._averages.swapped = self._own(averages), bool(swapped)
        gathered = state.pop("gathered", {})
        if self._gathered is not None:
            self._gathered.load(gathered.get("batches", 0), self._own(gathered.get("sums", ())))
            self._batches += self._gathered.batches
        scaling = state.pop("scaling", None)
        if self._scaling is not None and scaling is not None:
            self._scaling.load_state_dict(scaling)
        if self.torch_optimizer is not None:
            load_state(self.torch_optimizer, state_in_parts(self.torch_optimizer, state))

    def kept_for_parameters(self) -> list[tuple[Any, str]]:
        """Return where something is kept for each parameter, beside the torch optimizer: the keepers, and the names of the lists."""
        kept = [(self._averages, "means"), (self._gathered, "sums")]
        return [(keeper, name) for keeper, name in kept if keeper is not None]

    def _own(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Copies of tensors that belong to the parameters, where those are."""
        own = zip(self.parameters, tensors, strict=bool(tensors))
        return [like(parameter, tensor).detach().to(parameter.device, parameter.dtype, copy=True) for parameter, tensor in own]

    # ------------------------------------------------------------------ as a list of weights

    @property
    def built(self) -> bool:
        """Whether the optimizer knows the parameters that it trains."""
        return self.torch_optimizer is not None

    @property
    def weights(self) -> list[torch.Tensor]:
        """What is kept from step to step, in Keras' order: the number of steps, then one kind after the other, as all momenta.

        Of each kind there is a tensor for each parameter, in torch's layout; running means of the weights come last.
        Before the first step there is the number alone.
        """
        states = {} if self.torch_optimizer is None else self.torch_optimizer.state
        kept = [states[parameter][name] for parameter, name in self._places(states)]
        return [torch.tensor(int(self.iterations)), *kept, *(self._averages.means if self._averages is not None else ())]

    @property
    def variables(self) -> list[torch.Tensor]:
        """What is kept from step to step: what `weights` gives."""
        return self.weights

    def get_weights(self) -> list[np.ndarray]:
        """Return what `weights` gives as numpy arrays, for `set_weights` of an optimizer of this library.

        They lie as torch's parameters do: the momentum of a `Dense` kernel is `(outputs, inputs)`, where Keras has `(inputs, outputs)`.

        >>> from torchkeras_fn.optimizers import Adam
        >>> optimizer, weight = Adam(), torch.nn.Parameter(torch.ones(2))
        >>> optimizer.apply([torch.ones(2)], [weight])
        >>> [array.shape for array in optimizer.get_weights()]
        [(), (2,), (2,)]
        """
        return [_on_host(tensor).numpy().copy() for tensor in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Go on as an optimizer from which `get_weights` returned this. The learning rate stays as it is.

        Raises `RuntimeError` before the optimizer knows its parameters, and `ValueError`, having changed nothing, for what
        does not fit them.
        """
        if self.torch_optimizer is None:
            raise RuntimeError("The optimizer knows no parameters yet: compile a model with it, or call build(variables), before.")
        if not len(weights):
            raise ValueError("set_weights takes what get_weights returned: the number of steps comes first, but the list is empty.")
        values = [torch.as_tensor(np.asarray(_on_host(value) if isinstance(value, torch.Tensor) else value)) for value in weights]
        if values[0].numel() != 1 or not 0 <= float(values[0]) < 2**62:
            raise ValueError(f"set_weights takes what get_weights returned: the number of steps comes first, got {weights[0]!r:.80}.")
        iterations, rest = int(values[0]), values[1:]
        given = [tuple(value.shape) for value in rest]
        states = {parameter: dict(state) for parameter, state in self.torch_optimizer.state.items()} if rest else {}
        if given[: len(places := self._places(states))] != _shapes(places, states) or not states:
            states = self._after_a_step() if rest else {}
            places = self._places(states)
        wanted = _shapes(places, states)
        means = [tuple(parameter.shape) for parameter in self.parameters] if self._averages is not None and len(rest) > len(wanted) else []
        if given != wanted + means:
            raise ValueError(
                f"The optimizer keeps {len(wanted + means)} tensors beside the number of steps, of shapes {(wanted + means)[:6]}; "
                f"{len(given)} were given, of shapes {given[:6]}."
            )
        for state in states.values():
            if "step" in state:
                state["step"] = torch.full_like(state["step"], iterations) if isinstance(state["step"], torch.Tensor) else iterations
        for (parameter, name), value in zip(places, rest, strict=False):
            states[parameter][name] = value
        state = {number: states[parameter] for number, parameter in enumerate(self.parameters) if states.get(parameter)}
        self.load_state_dict({**self.state_dict(), "state": state, "iterations": iterations, "averages": rest[len(wanted) :]})

    def _places(self, states: Mapping[Any, Any]) -> list[tuple[torch.Tensor, str]]:
        """The parameters and the names of what a state keeps for them, in Keras' order; the number of steps is kept once."""
        held = [
            (parameter, name)
            for parameter in self.parameters
            for name, value in states.get(parameter, {}).items()
            if name != "step" and isinstance(value, torch.Tensor)
        ]
        names = list(dict.fromkeys(name for _, name in held))
        return sorted(held, key=lambda place: names.index(place[1]))

    def _after_a_step(self) -> dict[torch.Tensor, dict[str, Any]]:
        """The state as it is after a step of all parameters: what a first step would make of it is found out with copies of them."""
        trial: Any = copy.deepcopy(self.torch_optimizer)
        twins = [parameter for group in trial.param_groups for parameter in group["params"]]
        if not all(trial.state.get(twin) for twin in twins):
            for twin in twins:
                twin.grad = torch.zeros_like(twin)
            trial.step()
        return {parameter: dict(trial.state[twin]) for parameter, twin in zip(self.parameters, twins, strict=True)}

    # ------------------------------------------------------------------ going on when bound again

    def _keep(self) -> Before | None:
        """Return what to go on with; `None` where the optimizer was not bound yet."""
        if self.torch_optimizer is None:
            return None
        rate, averages, gathered = self.param_groups[0]["lr"], self._averages, self._gathered
        states = {parameter: (rate, state) for parameter, state in self.torch_optimizer.state.items()}
        means = dict(zip(self.parameters, averages.means, strict=False)) if averages is not None else {}
        sums = dict(zip(self.parameters, gathered.sums, strict=False)) if gathered is not None else {}
        swapped = averages is not None and averages.swapped
        return Before(int(self.iterations), rate, states, self._set_aside, means, swapped, gathered, sums)

    def _go_on(self, before: Before | None) -> None:
        """Go on after the steps taken before, with what was kept for the parameters; what is kept for others is set aside."""
        if before is None or self.torch_optimizer is None:
            return
        self.iterations = before.iterations
        for group in self.param_groups:
            group["lr"] = before.rate
        kept = {**before.set_aside, **before.states}
        for parameter in self.parameters:
            rate, state = kept.pop(parameter, (before.rate, None))
            if state is None:
                continue
            self.torch_optimizer.state[parameter] = state
            if parameter in before.set_aside:  # it took no part in the last steps, which count for it too, as in Keras
                if "step" in state:
                    step = state["step"]
                    state["step"] = torch.full_like(step, self.iterations) if isinstance(step, torch.Tensor) else int(self.iterations)
                if self.rate_in_momentum and before.rate:
                    self._scale_momentum([parameter], rate / before.rate)
        self._set_aside = kept
        follow_parameters(self.torch_optimizer, {})
        if self._averages is not None and before.means:
            self._averages.means = [before.means.get(parameter, parameter.detach().clone()) for parameter in self.parameters]
            self._averages.swapped = before.swapped
        gathered = before.gathered
        if self._gathered is not None and gathered is not None and gathered.batches and gathered.count == self._gathered.count:
            self._gathered.load(gathered.batches, [before.sums.get(own, torch.zeros_like(own)) for own in self.parameters])
            self._batches += gathered.batches
