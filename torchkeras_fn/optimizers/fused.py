"""torch's optimizer kernels, called past the bookkeeping of `Optimizer.step`, which costs more than they do.

The state stays where the torch optimizer keeps it. Whatever a kernel call here could get wrong (hooks, a scheduler that
watches `step`, several parameter groups, a missing gradient, state that was cleared, a momentum that was switched on) takes
the public way instead.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch.optim import optimizer as torch_module
from torch.optim.rmsprop import rmsprop

from torchkeras_fn.shards import is_sharded

Kernel = Callable[..., None]
"""Called with the gradients and the parameter group; and `found_inf`, where a step may be left out."""


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
        self._held: list[Any] = []
        """What the state holds for each parameter."""
        self._switches: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter("fused", "maximize")
        self._switched: tuple[Any, ...] = ()
        self._is_without_momentum = True

    def __getstate__(self) -> dict[str, Any]:
        """A copy finds the tensors of its own optimizer's state."""
        return {**self.__dict__, "_state": None, "_kernel": None, "_held": []}

    def __call__(self, unfit: torch.Tensor | None = None) -> None:
        """Take a step with the gradients that the parameters have, unless `unfit` is not 0, which only the device may know."""
        optimizer: Any = self._optimizer
        kernel = self._kernel
        gradients: list[torch.Tensor] = []
        for parameter in self._parameters:
            gradient = parameter.grad
            if gradient is None:
                kernel = None
            else:
                gradients.append(gradient)
        is_watched = (  # written out, and no method, for its frame would cost more than it does
            optimizer._optimizer_step_pre_hooks
            or optimizer._optimizer_step_post_hooks
            or torch_module._global_optimizer_pre_hooks
            or torch_module._global_optimizer_post_hooks
            or "step" in optimizer.__dict__
        )
        if self._state is None:
            _take_sparse(optimizer, gradients)
        group, state = optimizer.param_groups[0], optimizer.state
        if kernel is not None and not (
            state is self._state
            and len(optimizer.param_groups) == 1
            and self._switches(group) == self._switched
            and (not group.get("momentum")) is self._is_without_momentum
        ):
            kernel = None  # somebody has changed what it was made for
        try:
            if kernel is not None and list(state.values()) != self._held:
                kernel = None
        except RuntimeError:  # two tensors were compared, as one is no more the same: what is the same is seen to be equal without a look
            kernel = None
        if kernel is None or is_watched or not (unfit is None or takes_unfit(optimizer)):
            _complete_momenta(optimizer)
            step_unless(optimizer, unfit)
            self._take_state()
            return
        before = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # `torch.no_grad()` without its seven Python functions
        try:
            if unfit is None:
                kernel(gradients, group)
            else:
                kernel(gradients, group, found_inf=unfit)
        finally:
            torch._C._set_grad_enabled(before)

    def _take_state(self) -> None:
        """Note the tensors of the optimizer's state, if there is a kernel for it and every parameter has its part."""
        self._state, self._kernel = self._optimizer.state, None
        make = _KERNELS.get(type(self._optimizer))
        groups = self._optimizer.param_groups
        if any(map(is_sharded, self._parameters)):
            return
        if make is None or len(groups) != 1 or groups[0].get("maximize") or not isinstance(groups[0]["lr"], float):
            return
        if len({(parameter.device, parameter.dtype) for parameter in self._parameters}) == 1:
            self._kernel = make(self._parameters, [self._optimizer.state.get(parameter) for parameter in self._parameters], groups[0])
            self._held = list(map(dict, self._state.values()))
            self._switches = itemgetter(*_SWITCHES.intersection(groups[0]))
            self._switched = self._switches(groups[0])
            self._is_without_momentum = not groups[0].get("momentum")


def _take_sparse(optimizer: Any, gradients: Sequence[torch.Tensor]) -> None:
    """Let sparse gradients, as of `nn.Embedding(..., sparse=True)`, go the way that takes them: torch's fused kernels do not.

    Raises `ValueError` for an optimizer that has none.
    """
    if not any(gradient.is_sparse for gradient in gradients):
        return
    kind = type(optimizer)
    if kind.__module__.partition(".")[0] in _KNOWN and kind not in _SPARSE:
        raise ValueError(
            f"{kind.__name__} takes no sparse gradients, which a layer made with sparse=True has. Use torch.optim.SparseAdam for its "
            "weights, or 'sgd' or 'adagrad', or make the layer with sparse=False."
        )
    for group in optimizer.param_groups:
        if group.get("fused"):
            group["fused"], optimizer._step_supports_amp_scaling = False, False


_SWITCHES = frozenset(("amsgrad", "capturable", "centered", "differentiable", "foreach", "fused", "maximize"))
"""The options of a parameter group that decide which kernel there is, and which state it needs; beside a momentum."""

_KNOWN = ("torch", __name__.partition(".")[0])
_SPARSE = (torch.optim.SGD, torch.optim.Adagrad, torch.optim.SparseAdam)


def _complete_momenta(optimizer: Any) -> None:
    """Begin the momentum of weights that get their first gradient after others: torch's kernel takes the momenta of all or of none.

    And that of RMSprop, where it was switched on after the first step, which alone makes room for it.
    """
    for group in optimizer.param_groups:
        if type(optimizer) is torch.optim.RMSprop and group["momentum"] > 0:
            for parameter in group["params"]:
                state = optimizer.state.get(parameter)
                if state and "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        if group.get("fused") and group.get("momentum") and "dampening" in group:
            states = [(parameter, optimizer.state[parameter]) for parameter in group["params"] if parameter.grad is not None]
            if any(state.get("momentum_buffer") is not None for _, state in states):
                for parameter, state in states:
                    if state.get("momentum_buffer") is None:
                        state["momentum_buffer"] = _first_momentum(parameter, group)


def _first_momentum(parameter: torch.Tensor, group: Mapping[str, Any]) -> torch.Tensor:
    """What becomes the gradient in a step that adds to it: a first gradient is not dampened."""
    if not group["dampening"]:
        return torch.zeros_like(parameter, memory_format=torch.preserve_format)
    gradient: Any = parameter.grad
    gradient = -gradient if group["maximize"] else gradient
    first = (gradient + group["weight_decay"] * parameter.detach()) * (group["dampening"] / group["momentum"])
    return torch.nan_to_num(first, 0.0, 0.0, 0.0)  # of a step that is left out


def takes_unfit(optimizer: Any) -> bool:
    """Return whether the kernel of an optimizer can leave a step out by itself.

    >>> takes_unfit(torch.optim.Adam([torch.ones(1)], fused=True)), takes_unfit(torch.optim.Adam([torch.ones(1)]))
    (True, False)
    """
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def step_unless(optimizer: Any, unfit: torch.Tensor | None) -> None:
    """Let an optimizer take a step, unless `unfit` is not 0; one that cannot ask the device has to wait for what it is.

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> weight.grad = torch.ones(1)
    >>> step_unless(torch.optim.SGD([weight], lr=0.5), torch.tensor(1.0))
    >>> weight.item()
    1.0
    """
    if unfit is None:
        optimizer.step()
    elif takes_unfit(optimizer):
        optimizer.grad_scale, optimizer.found_inf = None, unfit
        try:
            optimizer.step()
        finally:
            del optimizer.grad_scale, optimizer.found_inf
    elif not unfit.item():
        optimizer.step()


def _steps(states: list[Any]) -> torch.Tensor:
    """The counts of steps of all parameters as one tensor, of which those in the states are views: one addition counts for all."""
    with torch.no_grad():
        together = torch.stack([state["step"] for state in states])
        for index, state in enumerate(states):
            state["step"] = together[index]
    return together


def _kept(states: list[Any], *names: str) -> list[list[torch.Tensor]] | None:
    """The tensors of each name, one for each parameter; `None` where a parameter has none yet."""
    if not all(state and all(state.get(name) is not None for name in names) for state in states):
        return None
    return [[state[name] for state in states] for name in names]


def _adam(parameters: list[torch.Tensor], states: list[Any], group: dict[str, Any]) -> Kernel | None:
    """Adam's kernel, and AdamW's. Formulas: Kingma & Ba, 2014; Loshchilov & Hutter, 2017."""
    run = getattr(torch, "_fused_adamw_" if group.get("decoupled_weight_decay") else "_fused_adam_", None)
    kept = _kept(states, "exp_avg", "exp_avg_sq", "step")
    if run is None or kept is None or not group["fused"]:
        return None
    counted = _steps(states)
    means, squares, steps = kept[0], kept[1], [state["step"] for state in states]
    largest = [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else []

    def kernel(gradients: list[torch.Tensor], group: dict[str, Any], **unfit: torch.Tensor) -> None:
        beta_1, beta_2 = group["betas"]
        counted.add_(1 - unfit["found_inf"] if unfit else 1)
        run(
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
            **unfit,
        )

    return kernel


def _sgd(parameters: list[torch.Tensor], states: list[Any], group: dict[str, Any]) -> Kernel | None:
    """The kernel of gradient descent, with momentum or without."""
    kept = _kept(states, "momentum_buffer") if group["momentum"] else [[]]
    if not hasattr(torch, "_fused_sgd_") or kept is None or not group["fused"]:
        return None
    (momenta,) = kept

    def kernel(gradients: list[torch.Tensor], group: dict[str, Any], **unfit: torch.Tensor) -> None:
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
            **unfit,
        )

    return kernel


def _adagrad(parameters: list[torch.Tensor], states: list[Any], group: dict[str, Any]) -> Kernel | None:
    """Adagrad's kernel. Formula: Duchi et al., 2011."""
    kept = _kept(states, "sum", "step")
    if not hasattr(torch, "_fused_adagrad_") or kept is None or not group["fused"]:
        return None
    counted = _steps(states)
    sums, steps = kept[0], [state["step"] for state in states]

    def kernel(gradients: list[torch.Tensor], group: dict[str, Any], **unfit: torch.Tensor) -> None:
        counted.add_(1 - unfit["found_inf"] if unfit else 1)
        torch._fused_adagrad_(
            parameters,
            gradients,
            sums,
            steps,
            lr=group["lr"],
            lr_decay=group["lr_decay"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
            **unfit,
        )

    return kernel


def _rmsprop(parameters: list[torch.Tensor], states: list[Any], group: dict[str, Any]) -> Kernel | None:
    """RMSprop, which has no kernel of its own: torch's function over all parameters at once."""
    kept = _kept(states, "square_avg", "step", *["grad_avg"] * group["centered"], *["momentum_buffer"] * (group["momentum"] > 0))
    if kept is None or not group["foreach"] or group["capturable"] or group["differentiable"]:
        return None
    squares, steps, *rest = kept
    means = rest.pop(0) if group["centered"] else []
    momenta = rest.pop(0) if group["momentum"] > 0 else []

    def kernel(gradients: list[torch.Tensor], group: dict[str, Any]) -> None:
        rmsprop(
            parameters,
            gradients,
            squares,
            means,
            momenta,
            steps,
            foreach=True,
            lr=group["lr"],
            alpha=group["alpha"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            centered=group["centered"],
        )

    return kernel


_KERNELS: dict[type, Callable[[list[torch.Tensor], list[Any], dict[str, Any]], Kernel | None]] = {
    torch.optim.Adam: _adam,
    torch.optim.AdamW: _adam,
    torch.optim.Adagrad: _adagrad,
    torch.optim.RMSprop: _rmsprop,
    torch.optim.SGD: _sgd,
}
