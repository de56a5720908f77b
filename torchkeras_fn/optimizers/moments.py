"""Adam and its kin: steps along a mean of the gradients, divided by the size that they usually have."""

from typing import Any

import torch

from torchkeras_fn.arguments import number
from torchkeras_fn.optimizers import formulas
from torchkeras_fn.optimizers.base import Optimizer
from torchkeras_fn.optimizers.option import Option


class Moments(Optimizer):
    """The base of optimizers with two running means, of the gradients and of their squares.

    `beta_1` and `beta_2` are the shares of the means that are kept at each step; `epsilon`, 1e-7 also where it is `None`,
    is added to the size that a step is divided by.

    >>> Moments(beta_1=0.5).get_config()["beta_1"]
    0.5
    """

    beta_1 = Option()
    beta_2 = Option()
    epsilon = Option()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        *common: Any,
        **options: Any,
    ):
        super().__init__(learning_rate, *common, **options)
        self.beta_1 = number(beta_1, "beta_1", minimum=0)
        self.beta_2 = number(beta_2, "beta_2", minimum=0)
        self.epsilon = 1e-7 if epsilon is None else number(epsilon, "epsilon", minimum=0)

    def torch_options(self) -> dict[str, Any]:
        """Return the betas and epsilon."""
        return {"betas": (self.beta_1, self.beta_2), "eps": self.epsilon}


class Adam(Moments):
    """Adam (Kingma & Ba, 2014), and AMSGrad with `amsgrad=True`: `torch.optim.Adam`, or `AdamW` with a `weight_decay`.

    torch adds `epsilon` to the root of the mean square after it was freed of its bias, Keras before, where it weighs
    `(1 - beta_2 ** step) ** -0.5` times as much: 30 times in the first step, where gradients of 1e-4 then make steps 3%
    smaller in Keras. https://arxiv.org/abs/1412.6980

    >>> Adam().get_config()["beta_2"]
    0.999
    """

    torch_class = torch.optim.Adam
    decaying_class = torch.optim.AdamW
    may_fuse = True

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        *common: Any,
        **options: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *common, **options)
        self.amsgrad = bool(amsgrad)

    def torch_options(self) -> dict[str, Any]:
        """Return the betas, epsilon and AMSGrad."""
        return {**super().torch_options(), "amsgrad": self.amsgrad}


class AdamW(Adam):
    """Adam that shrinks the weights apart from the gradient (Loshchilov & Hutter, 2017). `torch.optim.AdamW`.

    https://arxiv.org/abs/1711.05101

    >>> AdamW().weight_decay
    0.004
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        *common: Any,
        **options: Any,
    ):
        if weight_decay is None:
            raise ValueError("AdamW needs a number for 'weight_decay', got None. Without it, it is Adam.")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, *common, **options)


class Adamax(Moments):
    """Adam with the largest gradient in place of the mean square (Kingma & Ba, 2014, section 7). `torch.optim.Adamax`.

    torch adds `epsilon` to each gradient before the largest is taken, Keras to the largest, which is nearly the same.

    >>> Adamax().learning_rate
    0.001
    """

    torch_class = torch.optim.Adamax
    may_group = True


class Nadam(Moments):
    """Adam with Nesterov's momentum (Dozat, 2016). `torch.optim.NAdam`.

    The share of the momentum grows as `1 - 0.5 * 0.96 ** (schedule_decay * step)`. `schedule_decay` is 1, as it always is
    in Keras 3; Keras 2 and torch begin with 0.004. https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ

    >>> Nadam(schedule_decay=0.004).torch_options()["momentum_decay"]
    0.004
    """

    torch_class = torch.optim.NAdam
    may_group = True
    schedule_decay = Option()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        *common: Any,
        schedule_decay: float = 1.0,
        **options: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, *common, **options)
        self.schedule_decay = number(schedule_decay, "schedule_decay", minimum=0)

    def torch_options(self) -> dict[str, Any]:
        """Return the betas, epsilon and the growth of the momentum."""
        return {**super().torch_options(), "momentum_decay": self.schedule_decay}


class Lamb(Moments):
    """Adam's steps, each scaled to the norm of its weight, for very large batches (You et al., 2019).

    https://arxiv.org/abs/1904.00962

    >>> Lamb().learning_rate
    0.001
    """

    torch_class = formulas.Lamb


class Lion(Optimizer):
    """Steps of one size, in the direction of the sign of a momentum (Chen et al., 2023). https://arxiv.org/abs/2302.06675

    `beta_1` is the share of the momentum in the direction, `beta_2` that of its own past in the momentum. Lion wants a
    smaller learning rate than Adam, by 3 to 10 times.

    >>> Lion().get_config()["beta_2"]
    0.99
    """

    torch_class = formulas.Lion
    beta_1 = Option()
    beta_2 = Option()

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, *common: Any, **options: Any):
        super().__init__(learning_rate, *common, **options)
        if not 0 < beta_1 <= 1:
            raise ValueError(f"'beta_1' must be above 0 and at most 1, got {beta_1!r}.")
        self.beta_1 = float(beta_1)
        self.beta_2 = number(beta_2, "beta_2", minimum=0)

    def torch_options(self) -> dict[str, Any]:
        """Return the betas."""
        return {"betas": (self.beta_1, self.beta_2)}
