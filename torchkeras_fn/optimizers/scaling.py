"""The scale of a loss whose gradients pass through float16, where small ones would be lost. The work is that of torch's `GradScaler`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch


class Scaling:
    """Scales the loss, and takes the scale out of the gradients again. It begins at `initial_scale`, 2**15 as in Keras.

    A step with a gradient that is not finite is left out, and the scale halved; after `growth_steps` without one it is
    doubled. Only torch's fused optimizers leave a step out by themselves: for others, one number is read from the device
    at every step. A step whose loss was not scaled, in a `train_step` of the user's, is left as it is.

    >>> weight, scaling = torch.nn.Parameter(torch.ones(1)), Scaling("cpu")
    >>> optimizer = torch.optim.SGD([weight], lr=0.5)
    >>> scaling.scale(weight.sum()).backward()
    >>> found = scaling.unscale(optimizer)
    >>> weight.grad, found
    (tensor([1.]), tensor(0.))
    >>> scaling.step(lambda unfit: optimizer.step())
    >>> weight.item()
    0.5
    """

    def __init__(self, device_type: str, initial_scale: float = 2.0**15, growth_steps: int = 2000):
        self.scaler = torch.amp.GradScaler(device_type, init_scale=initial_scale, growth_interval=growth_steps)
        self._new_momenta: list[dict[str, Any]] = []
        self._is_scaled = False
        self._unfit: Any = None
        self.is_open = False
        """Whether gradients were unscaled, and the step is not over."""

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss times the scale."""
        self._is_scaled = True
        return self.scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> torch.Tensor | None:
        """Divide the gradients of an optimizer by the scale; return a tensor that is not 0 where one is not finite.

        `None` says that the loss was not scaled, or that there is no gradient.
        """
        if self.is_open:  # the last step was broken off
            self.close()
        is_scaled, self._is_scaled = self._is_scaled, False
        if not is_scaled or all(parameter.grad is None for group in optimizer.param_groups for parameter in group["params"]):
            return None
        self.scaler.unscale_(optimizer)
        self.is_open = True
        self._new_momenta = _without_momentum(optimizer)
        found = list(self.scaler._found_inf_per_device(optimizer).values())
        unfit: torch.Tensor = found[0] if len(found) == 1 else torch.stack([one.to(found[0].device) for one in found]).amax()
        self._unfit = unfit
        return unfit

    def step(self, take_step: Callable[[torch.Tensor], Any]) -> None:
        """Let a step be taken, unless what it is called with is not 0, and adjust the scale."""
        try:
            take_step(self._unfit)
        finally:
            self.close()

    def close(self) -> None:
        """Adjust the scale after a step."""
        self.is_open = False
        self.scaler.update()
        for state in self._new_momenta:  # torch 2.13 leaves them as they lay in memory where the first step is left out
            made = state.get("momentum_buffer")
            if made is not None:
                made.copy_(torch.where(self._unfit.to(made.device) == 0, made, 0.0))
        self._new_momenta = []

    def move(self, device: torch.device) -> None:
        """Keep the scale on a device, where the parameters are now."""
        state = self.state_dict()
        self.scaler = torch.amp.GradScaler(device.type, growth_interval=self.scaler.get_growth_interval())
        self.load_state_dict(state)

    def __getstate__(self) -> dict[str, Any]:
        """A copy is between two steps."""
        return {**self.__dict__, "_new_momenta": [], "_unfit": None}

    def state_dict(self) -> dict[str, Any]:
        """Return the scale, and the number of steps since it last changed."""
        state = self.scaler.state_dict()
        return {"scale": state["scale"], "steps": state["_growth_tracker"]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises `ValueError` for what is no such state."""
        scale, steps = (state.get(name) if isinstance(state, Mapping) else None for name in ("scale", "steps"))
        if type(scale) is not float or not math.isfinite(scale) or scale < 0 or type(steps) is not int or not 0 <= steps < 2**31:
            raise ValueError(f"the scale of the loss is {scale!r:.80} after {steps!r:.80} steps, which cannot be.")
        self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": scale, "_growth_tracker": steps})


def _without_momentum(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The states of the weights to which the fused kernel of gradient descent is yet to give a momentum."""
    if not isinstance(optimizer, torch.optim.SGD):
        return []
    groups = [group for group in optimizer.param_groups if group.get("fused") and group["momentum"]]
    states = [optimizer.state[parameter] for group in groups for parameter in group["params"] if parameter.grad is not None]
    return [state for state in states if state.get("momentum_buffer") is None]
