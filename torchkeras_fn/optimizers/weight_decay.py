"""`WeightDecay`: which weights an optimizer shrinks, apart from the gradient, where its torch class does not do that in its step."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from torchkeras_fn.optimizers.kept import Kept
from torchkeras_fn.optimizers.moving import substitute
from torchkeras_fn.shards import parts


class WeightDecay(Kept):
    """The part of an `Optimizer` that is about `weight_decay`.

    >>> from torchkeras_fn.optimizers import Adam
    >>> isinstance(Adam(weight_decay=0.01), WeightDecay)
    True
    """

    weight_decay: float | None
    _undecayed: tuple[Sequence[torch.Tensor], str]
    """The weights that are left as they are, and a pattern in the names of others."""
    _decayed: list[torch.Tensor]

    def exclude_from_weight_decay(self, var_list: Iterable[torch.Tensor] | None = None, var_names: Iterable[str] | None = None) -> None:
        """Leave weights as they are that `weight_decay` would shrink: those listed, and those in whose name a pattern is found.

        A weight's name is both torch's, such as `dense.bias`, and Keras', such as `bias` or `gamma`. Raises `ValueError`
        once a model was compiled with the optimizer.

        >>> from torchkeras_fn.optimizers import Adam
        >>> Adam(weight_decay=0.01).exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        """
        if self.torch_optimizer is not None:
            raise ValueError("exclude_from_weight_decay comes before compile, which makes the torch optimizer.")
        self._undecayed = (list(var_list or ()), "|".join(var_names or ()))

    def follow_excluded(self, replaced: Mapping[int, Any]) -> None:
        """Leave those weights as they are that stand in the place of others, by whose `id` they are given."""
        listed, pattern = self._undecayed
        self._undecayed = (substitute(listed, replaced), pattern)

    def _is_decayed(self, parameter: torch.Tensor, names: Mapping[int, str]) -> bool:
        listed, pattern = self._undecayed
        return not any(parameter is other for other in listed) and not (pattern and re.search(pattern, names.get(id(parameter), "")))

    def _decay_weights(self, unfit: torch.Tensor | None) -> None:
        decayed = [parameter for parameter in self._decayed if parameter.grad is not None]
        factor: Any = 1 - self.param_groups[0]["lr"] * self.weight_decay
        if unfit is not None:  # the step is left out where this is not 0, which only the device knows
            factor = torch.where(unfit == 0, factor, 1.0)
        if decayed:
            with torch.no_grad():
                torch._foreach_mul_(parts(decayed), factor)
