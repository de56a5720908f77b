"""What is asked of torch's own optimizers, which may be passed wherever ours may."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras_fn.optimizers.base import Optimizer


def check(optimizer: Any, parameters: Sequence[torch.Tensor] | None = None, with_closure: bool = False) -> None:
    """Raise what torch says to the options of an optimizer, and `ValueError` for one that trains none of these parameters.

    One that needs a closure for its steps is refused too, unless they are taken `with_closure`.

    >>> from torchkeras_fn.optimizers import Adam
    >>> check(Adam(beta_1=2))
    Traceback (most recent call last):
        ...
    ValueError: Invalid beta parameter at index 0: 2.0
    """
    if isinstance(optimizer, torch.optim.Optimizer):
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if parameters and held.isdisjoint(id(parameter) for parameter in parameters):
            raise ValueError(f"The {type(optimizer).__name__} was made for other parameters: it holds none of this model's.")
        _check_step(optimizer, with_closure)
        return
    made = (optimizer.make if isinstance(optimizer, Optimizer) else optimizer)([torch.nn.Parameter(torch.zeros(1))])
    _check_step(made, with_closure)


def _check_step(optimizer: torch.optim.Optimizer, with_closure: bool) -> None:
    if takes_closure(optimizer) and not with_closure:
        raise ValueError(
            f"{type(optimizer).__name__} takes steps with a closure: override train_step, and call self.optimizer.step(closure)."
        )


def is_torch_factory(identifier: Any) -> bool:
    """Return whether this makes a torch optimizer when called with parameters: a class of `torch.optim`, or a partial of one.

    >>> is_torch_factory(functools.partial(torch.optim.Adam, lr=0.1))
    True
    """
    made = identifier.func if isinstance(identifier, functools.partial) else identifier
    return inspect.isclass(made) and issubclass(made, torch.optim.Optimizer)


def takes_closure(optimizer: Any) -> bool:
    """Return whether an optimizer of torch, or what makes one, can take no step without a closure.

    >>> takes_closure(torch.optim.LBFGS), takes_closure(torch.optim.SGD)
    (True, False)
    """
    made = optimizer.func if isinstance(optimizer, functools.partial) else optimizer
    kind = made if inspect.isclass(made) else type(made)
    closure = inspect.signature(kind.step).parameters.get("closure") if hasattr(kind, "step") else None
    return closure is not None and closure.default is closure.empty


class Hold:
    """A hook for a torch optimizer that applies constraints after each step. A copy holds nothing: its weights are others.

    >>> Hold([lambda: print("held")])()
    held
    """

    def __init__(self, constraints: Sequence[Callable[[], None]] = ()):
        self.constraints = constraints

    def __call__(self, *_: Any) -> None:
        for apply in self.constraints:
            apply()

    def __reduce__(self) -> Any:
        return Hold, ()
