"""Running means of weights, which Keras calls EMA."""

from collections.abc import Iterable

import torch

from torchkeras_fn.shards import parts


class Averages:
    """Running means of parameters, `momentum * mean + (1 - momentum) * parameter`; the first values are the first means.

    >>> weight, averages = torch.nn.Parameter(torch.zeros(1)), Averages(0.75)
    >>> for step in range(2):
    ...     averages.take([weight], first=step == 0)
    ...     weight.data += 1
    >>> averages.give([weight])
    >>> weight.item()
    0.25
    """

    def __init__(self, momentum: float):
        self.momentum = momentum
        self.means: list[torch.Tensor] = []
        self.swapped = False
        """Whether the parameters are the means for now, and the means the parameters."""

    @torch.no_grad()
    def take(self, parameters: list[torch.Tensor], first: bool) -> None:
        """Take in the parameters as they are; `first`, as the means themselves."""
        if not self.means:
            self.means = [torch.zeros_like(parameter) for parameter in parameters]
        torch._foreach_lerp_(parts(self.means), parts(parameters), 1.0 if first else 1 - self.momentum)

    @torch.no_grad()
    def give(self, parameters: list[torch.Tensor], chosen: Iterable[torch.Tensor] | None = None) -> None:
        """Set the parameters, or those `chosen` of them, to their means. Raises `ValueError` where one is not of them."""
        if self.swapped:
            self.swap(parameters)
        known = {id(parameter): mean for parameter, mean in zip(parameters, self.means, strict=True)}
        changed = list(parameters if chosen is None else chosen)
        if not all(id(parameter) in known for parameter in changed):
            raise ValueError("The optimizer keeps no running mean of a weight that it was not made for.")
        torch._foreach_copy_(parts(changed), parts(known[id(parameter)] for parameter in changed))

    @torch.no_grad()
    def swap(self, parameters: list[torch.Tensor]) -> None:
        """Exchange the parameters and their means; a second time, back. Before the first step there is nothing to exchange."""
        if self.means:
            own, means = parts(parameters), parts(self.means)
            kept = [parameter.clone() for parameter in own]
            torch._foreach_copy_(own, means)
            torch._foreach_copy_(means, kept)
            self.swapped = not self.swapped
