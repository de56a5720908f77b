"""torch's fused optimizer kernels, called past the bookkeeping of `Optimizer.step`, which costs more than they do.

The state stays where the torch optimizer keeps it. Whatever a kernel call here could get wrong (hooks, a scheduler that
watches `step`, several parameter groups, a missing gradient) takes the public way instead.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import optimizer as torch_module

Kernel = Callable[[list[torch.Tensor], dict[str, Any]], None]


class FusedStep:
    """A step of a torch optimizer: through `step()` at first, then through its kernel with the state that `step()` made.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> adam = torch.optim.Adam([weight], lr=0.1, fused=True)
    >>> step = FusedStep(adam, [weight])
    >>> for _ in range(3):
    ...     weight.grad = torch.ones(2)
    ...     step()
    >>> adam.state[weight]["step"]
    tensor(3.)
    """

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: Sequence[torch.Tensor]):
        self._optimizer = optimizer
        self._parameters = list(parameters)
        self._state: Any = None
        self._kernel: Kernel | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy finds the tensors of its own optimizer's state."""
        return {**self.__dict__, "_state": None, "_kernel": None}

    def __call__(self) -> None:
        """Take a step with the gradients that the parameters have."""
        optimizer = self._optimizer
        gradients: list[Any] = [parameter.grad for parameter in self._parameters]
        missing = any(gradient is None for gradient in gradients)
        if self._kernel is None or optimizer.state is not self._state or missing or self._is_watched():
            optimizer.step()
            self._take_state()
            return
        with torch.no_grad():
            self._kernel(gradients, optimizer.param_groups[0])

    def _is_watched(self) -> bool:
        optimizer: Any = self._optimizer
        hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
        everywhere = (torch_module._global_optimizer_pre_hooks, torch_module._global_optimizer_post_hooks)
        return "step" in optimizer.__dict__ or any(hooks) or any(everywhere)

    def _take_state(self) -> None:
        """Note the tensors of the optimizer's state, if there is a kernel for it and every parameter has its part."""
        self._state, self._kernel = self._optimizer.state, None
        make = _KERNELS.get(type(self._optimizer))
        groups = self._optimizer.param_groups
        if make is not None and len(groups) == 1 and groups[0].get("fused") and not groups[0].get("maximize"):
            states = [self._optimizer.state.get(parameter) for parameter in self._parameters]
            if isinstance(groups[0]["lr"], float):
                self._kernel = make(self._parameters, states, groups[0])


def _adam(parameters: list[torch.Tensor], states: list[Any], group: dict[str, Any]) -> Kernel | None:
    """Adam's kernel. Formula: Kingma & Ba, 2014."""
    if not all(state and "exp_avg" in state for state in states) or not hasattr(torch, "_fused_adam_"):
        return None
    means, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    largest = [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else []

    def kernel(gradients: list[torch.Tensor], group: dict[str, Any]) -> None:
        beta_1, beta_2 = group["betas"]
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            parameters,
            gradients,
            means,
            squares,
            largest,
            steps,
            lr=group["lr"],
            beta1=beta_1,
            beta2=beta_2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=group["amsgrad"],
            maximize=False,
        )

    return kernel


def _sgd(parameters: list[torch.Tensor], states: list[Any], group: dict[str, Any]) -> Kernel | None:
    """The kernel of gradient descent, with momentum or without."""
    if not hasattr(torch, "_fused_sgd_"):
        return None
    buffers = [state.get("momentum_buffer") if state else None for state in states]
    if group["momentum"] and any(buffer is None for buffer in buffers):
        return None
    momenta: list[Any] = buffers if group["momentum"] else []

    def kernel(gradients: list[torch.Tensor], group: dict[str, Any]) -> None:
        torch._fused_sgd_(
            parameters,
            gradients,
            momenta,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=False,
            is_first_step=False,
        )

    return kernel


_KERNELS: dict[type, Callable[[list[torch.Tensor], list[Any], dict[str, Any]], Kernel | None]] = {
    torch.optim.Adam: _adam,
    torch.optim.SGD: _sgd,
}
