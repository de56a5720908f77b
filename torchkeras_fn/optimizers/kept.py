"""`Kept`: what an optimizer keeps from step to step, written down and taken over again, by itself or by another one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from torchkeras_fn.optimizers.averages import Averages
from torchkeras_fn.optimizers.gradients import Gathered
from torchkeras_fn.optimizers.moving import follow_parameters
from torchkeras_fn.optimizers.rate import Rated
from torchkeras_fn.optimizers.scaling import Scaling
from torchkeras_fn.shards import like, state_in_parts


class Before(NamedTuple):
    """What an optimizer knew when it was bound before: of each parameter its state, with the rate of its last step, and its mean."""

    iterations: int
    rate: float
    states: dict[torch.Tensor, tuple[float, Any]]
    set_aside: Mapping[torch.Tensor, tuple[float, Any]]
    means: dict[torch.Tensor, torch.Tensor]
    swapped: bool


class Kept(Rated):
    """The part of an optimizer that has a state: that of the torch optimizer, steps counted, running means, gathered gradients."""

    parameters: list[torch.Tensor]
    _averages: Averages | None
    _gathered: Gathered | None
    _scaling: Scaling | None
    _set_aside: Mapping[torch.Tensor, tuple[float, Any]] = {}
    """The state of parameters that are not trained for now, as they are frozen."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the torch optimizer, the number of steps taken, and running means and gathered gradients."""
        state = self.torch_optimizer.state_dict() if self.torch_optimizer is not None else {}
        state["iterations"] = self.iterations
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
            self.torch_optimizer.load_state_dict(state_in_parts(self.torch_optimizer, state))

    def kept_for_parameters(self) -> list[tuple[Any, str]]:
        """Return where something is kept for each parameter, beside the torch optimizer: the keepers, and the names of the lists."""
        kept = [(self._averages, "means"), (self._gathered, "sums")]
        return [(keeper, name) for keeper, name in kept if keeper is not None]

    def _own(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Copies of tensors that belong to the parameters, where those are."""
        own = zip(self.parameters, tensors, strict=bool(tensors))
        return [like(parameter, tensor).detach().to(parameter.device, parameter.dtype, copy=True) for parameter, tensor in own]

    # ------------------------------------------------------------------ going on when bound again

    def _keep(self) -> Before | None:
        """Return what to go on with; `None` where the optimizer was not bound yet."""
        if self.torch_optimizer is None:
            return None
        rate, averages = self.param_groups[0]["lr"], self._averages
        states = {parameter: (rate, state) for parameter, state in self.torch_optimizer.state.items()}
        means = dict(zip(self.parameters, averages.means, strict=False)) if averages is not None else {}
        return Before(self.iterations, rate, states, self._set_aside, means, averages is not None and averages.swapped)

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
                    state["step"] = torch.full_like(step, self.iterations) if isinstance(step, torch.Tensor) else self.iterations
                if self.rate_in_momentum and before.rate:
                    self._scale_momentum([parameter], rate / before.rate)
        self._set_aside = kept
        follow_parameters(self.torch_optimizer, {})
        if self._averages is not None and before.means:
            self._averages.means = [before.means.get(parameter, parameter.detach().clone()) for parameter in self.parameters]
            self._averages.swapped = before.swapped
