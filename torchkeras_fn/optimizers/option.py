"""`Option`: a number of an optimizer, such as its momentum, that may be set between steps."""

from typing import Any

from torchkeras_fn.arguments import number


class Option:
    """An attribute of an optimizer that the torch optimizer follows where it is set, once there is one, as in Keras.

    Raises `ValueError` for what is not a number, or is negative; the optimizer is then as it was.

    >>> import torch
    >>> from torchkeras_fn.optimizers import SGD
    >>> descent = SGD(0.1, momentum=0.5)
    >>> descent.build([torch.nn.Parameter(torch.ones(1))])
    >>> descent.momentum = 0.9
    >>> descent.param_groups[0]["momentum"]
    0.9
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: Any = None) -> Any:
        if optimizer is None:
            return self
        try:
            return optimizer.__dict__[self.name]
        except KeyError:
            raise AttributeError(f"{type(optimizer).__name__} has no {self.name!r} yet.") from None

    def __set__(self, optimizer: Any, value: Any) -> None:
        kept = optimizer.__dict__
        if kept.get("torch_optimizer") is None:
            kept[self.name] = value
        else:
            self.change(optimizer, value)

    def change(self, optimizer: Any, value: Any) -> None:
        """Set the number of an optimizer that takes steps already."""
        kept, before = optimizer.__dict__, optimizer.torch_options()
        kept[self.name] = bool(value) if isinstance(kept[self.name], bool) else number(value, self.name, minimum=0)
        changed = {name: new for name, new in optimizer.torch_options().items() if new != before[name]}
        for group in optimizer.param_groups:
            group.update(changed)


class Decay(Option):
    """The `weight_decay` of an optimizer, which torch's Adam takes for itself where it shrinks all weights.

    >>> import torch
    >>> from torchkeras_fn.optimizers import AdamW
    >>> adam = AdamW(0.1, weight_decay=0.5)
    >>> adam.build([torch.nn.Parameter(torch.ones(1))])
    >>> adam.weight_decay = 0.25
    >>> adam.param_groups[0]["weight_decay"]
    0.25
    """

    def change(self, optimizer: Any, value: Any) -> None:
        """Set the decay of an optimizer that takes steps already; `None` is none."""
        decay = optimizer.__dict__[self.name] = None if value is None else number(value, self.name, minimum=0)
        for group in optimizer.param_groups:
            if group.get("decoupled_weight_decay"):
                group["weight_decay"] = decay or 0.0
