"""`AroundSteps`: gradients gathered over batches, and a scaled loss, with the steps of a torch optimizer that is the user's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torchkeras_fn.optimizers.fused import takes_unfit
from torchkeras_fn.optimizers.gradients import Gathered
from torchkeras_fn.optimizers.scaling import Scaling
from torchkeras_fn.shards import like


class AroundSteps:
    """What `compile` asks for around the steps of a torch optimizer, which stays the user's own.

    With `gradient_accumulation_steps`, one step is taken with the mean gradient of so many calls of `step()`; `scaling`
    takes the scale of the loss out of the gradients, and leaves out steps with one that is not finite. A `step()` that is
    not to change anything finds no gradients. Hooks see to it, so that the steps of a `train_step` of the user's count too.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = torch.optim.SGD([weight], lr=1.0)
    >>> around = AroundSteps(gradient_accumulation_steps=2)
    >>> around.attach(optimizer)
    >>> for value in (1.0, 3.0):
    ...     weight.grad = torch.tensor([value])
    ...     optimizer.step()
    >>> weight.item()
    -2.0
    """

    def __init__(self, gradient_accumulation_steps: int | None = None, scaling: Scaling | None = None):
        count = gradient_accumulation_steps or 1
        self.gathered = Gathered(count) if count > 1 else None
        self.scaling = scaling
        self._optimizer: torch.optim.Optimizer | None = None
        self._handles: list[Any] = []

    def go_on(self, before: "AroundSteps | None", optimizer: torch.optim.Optimizer) -> None:
        """Go on with what another one has gathered for the same steps."""
        gathered = before.gathered if before is not None and before._optimizer is optimizer else None
        if gathered is not None and self.gathered is not None and gathered.count == self.gathered.count:
            self.gathered = gathered

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Begin with the steps of this optimizer, where its parameters are now."""
        parameters = _parameters(optimizer)
        self._own_sums(parameters)
        if self.scaling is not None:
            self.scaling.move(parameters[0].device)
        self._optimizer = optimizer
        self._handles = [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]

    @property
    def is_attached(self) -> bool:
        """Whether it is around the steps of an optimizer; a copy is not so far."""
        return bool(self._handles)

    def detach(self) -> None:
        """Leave the steps as they were before."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __getstate__(self) -> dict[str, Any]:
        """A copy is attached to the optimizer of its own model."""
        return {**self.__dict__, "_optimizer": None, "_handles": []}

    def _own_sums(self, parameters: Sequence[Any]) -> None:
        """Let the gathered gradients be where the parameters are."""
        if self.gathered is not None and self.gathered.sums:
            pairs = zip(parameters, self.gathered.sums, strict=True)
            self.gathered.sums = [like(own, total).detach().to(own.device, own.dtype, copy=True) for own, total in pairs]

    def _before(self, optimizer: Any, *_: Any) -> None:
        parameters = _parameters(optimizer)
        if self.gathered is not None and not self.gathered.add(parameters):
            _forget(parameters)
            return
        unfit = self.scaling.unscale(optimizer) if self.scaling is not None else None
        if unfit is None:
            return
        if takes_unfit(optimizer):
            optimizer.grad_scale, optimizer.found_inf = None, unfit  # the kernel leaves the step out by itself
        elif unfit.item():
            _forget(parameters)

    def _after(self, optimizer: Any, *_: Any) -> None:
        for name in ("grad_scale", "found_inf"):
            optimizer.__dict__.pop(name, None)
        if self.scaling is not None and self.scaling.is_open:
            self.scaling.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the gathered gradients, and the scale of the loss."""
        state: dict[str, Any] = {}
        if self.gathered is not None:
            state["gathered"] = {"batches": self.gathered.batches, "sums": list(self.gathered.sums)}
        return state if self.scaling is None else {**state, "scaling": self.scaling.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        if self.gathered is not None and "gathered" in state:
            self.gathered.load(state["gathered"]["batches"], state["gathered"]["sums"])
            self._own_sums(_parameters(self._optimizer))
        if self.scaling is not None and "scaling" in state:
            self.scaling.load_state_dict(state["scaling"])


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _forget(parameters: Sequence[Any]) -> None:
    for parameter in parameters:
        parameter.grad = None
