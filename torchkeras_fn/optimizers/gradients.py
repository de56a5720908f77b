"""What is done to gradients between the backward pass and the step: clipping, and gathering over several batches."""

from collections.abc import Sequence

import torch

from torchkeras_fn.shards import is_sharded, norms, parts


def clip_values(gradients: list[torch.Tensor], limit: float) -> None:
    """Hold every number between `-limit` and `limit`, in place.

    >>> gradient = torch.tensor([3.0, -0.5])
    >>> clip_values([gradient], 1.0)
    >>> gradient
    tensor([ 1.0000, -0.5000])
    """
    own = parts(gradients)
    torch._foreach_clamp_min_(own, -limit)
    torch._foreach_clamp_max_(own, limit)


def clip_each_norm(gradients: list[torch.Tensor], limit: float) -> None:
    """Shorten every gradient to the Euclidean norm `limit`, in place, where it is longer.

    >>> long, short = torch.tensor([3.0, 4.0]), torch.tensor([0.5])
    >>> clip_each_norm([long, short], 1.0)
    >>> long, short
    (tensor([0.6000, 0.8000]), tensor([0.5000]))
    """
    excess = torch._foreach_div(norms(gradients), limit)
    torch._foreach_clamp_min_(excess, 1.0)
    torch._foreach_div_(parts(gradients), excess)


def clip_global_norm(gradients: list[torch.Tensor], limit: float) -> None:
    """Shorten all gradients by one factor to the Euclidean norm `limit` of them together, in place, where it is longer.

    >>> first, second = torch.tensor([3.0]), torch.tensor([4.0])
    >>> clip_global_norm([first, second], 1.0)
    >>> first, second
    (tensor([0.6000]), tensor([0.8000]))
    """
    home = gradients[0].device
    excess = (torch.linalg.vector_norm(torch.stack([norm.to(home) for norm in norms(gradients)])) / limit).clamp_min(1.0)
    torch._foreach_div_(parts(gradients), [excess.to(gradient.device) for gradient in gradients])


class Gathered:
    """Gradients that are summed over `count` batches, so that one step can be taken with their mean.

    >>> weight, gathered = torch.nn.Parameter(torch.zeros(1)), Gathered(2)
    >>> for value in (1.0, 3.0):
    ...     weight.grad = torch.tensor([value])
    ...     due = gathered.add([weight])
    >>> due, weight.grad
    (True, tensor([2.]))
    """

    def __init__(self, count: int):
        self.count = count
        self.batches = 0
        self.sums: list[torch.Tensor] = []
        self._came: set[int] = set()
        """The numbers of the parameters that got a gradient since the last step."""

    def load(self, batches: int, sums: Sequence[torch.Tensor]) -> None:
        """Go on with what was gathered before."""
        self.batches, self.sums = batches, list(sums)
        self._came = {index for index, total in enumerate(self.sums) if is_sharded(total) or total.any()}

    def add(self, parameters: Sequence[torch.Tensor]) -> bool:
        """Take in the gradients of a batch. With the last one, put the mean in their place, begin anew, and return `True`."""
        if not self.sums:
            self.sums = [torch.zeros_like(parameter) for parameter in parameters]
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:  # the sums of several batches are not
                parameter.grad = parameter.grad.to_dense()
        present = [(p.grad, total) for p, total in zip(parameters, self.sums, strict=True) if p.grad is not None]
        gradients, sums = parts(gradient for gradient, _ in present), parts(total for _, total in present)
        self.batches += 1
        if self.batches < self.count:
            if gradients:
                torch._foreach_add_(sums, gradients)
            self._came.update(index for index, parameter in enumerate(parameters) if parameter.grad is not None)
            return False
        if gradients:
            torch._foreach_add_(gradients, sums)
            torch._foreach_div_(gradients, self.count)
        for index in self._came if len(gradients) < len(parameters) else ():
            if parameters[index].grad is None:  # of this batch; one before had a gradient
                parameters[index].grad = self.sums[index] / self.count
        torch._foreach_zero_(parts(self.sums))
        self.batches = 0
        self._came.clear()
        return True
