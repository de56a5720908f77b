"""Gradient descent, and the optimizers that give every weight a rate of its own by the gradients it has had."""

from typing import Any

import torch

from torchkeras_fn.arguments import number
from torchkeras_fn.optimizers import formulas
from torchkeras_fn.optimizers.base import Optimizer
from torchkeras_fn.optimizers.option import Option


class SGD(Optimizer):
    """Gradient descent, with `momentum`, and Nesterov's with `nesterov=True`. `torch.optim.SGD`.

    As in Keras, the momentum remembers steps: when the learning rate is set, or follows a schedule, what was gathered
    before goes on at the rate it was gathered with. torch's own schedules scale it with the rest, as they do in torch.
    At a rate of 0 the weights stay, where in Keras they go on with their momentum.

    >>> SGD(0.1, momentum=0.9).get_config()["momentum"]
    0.9
    """

    torch_class = torch.optim.SGD
    may_fuse = True
    rate_in_momentum = True
    momentum = Option()
    nesterov = Option()

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, *common: Any, **options: Any):
        super().__init__(learning_rate, *common, **options)
        if not 0 <= momentum <= 1:
            raise ValueError(f"'momentum' must be between 0 and 1, got {momentum!r}.")
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)

    def torch_options(self) -> dict[str, Any]:
        """Return momentum and Nesterov, which means nothing without momentum."""
        return {"momentum": self.momentum, "nesterov": self.nesterov and self.momentum > 0}


class RMSprop(Optimizer):
    """Gradients divided by a running mean of their size (Tieleman & Hinton, 2012). `torch.optim.RMSprop`.

    `rho` is the share of the mean that is kept at each step; with `centered=True` the mean gradient is taken off first.
    torch, like Keras 2, adds `epsilon` to the root of the mean square; Keras 3 to the mean square, where 1e-7 makes the
    steps of a weight smaller whose gradients are below 0.003.

    >>> RMSprop().get_config()["rho"]
    0.9
    """

    torch_class = torch.optim.RMSprop
    may_group = True
    rate_in_momentum = True
    rho = Option()
    momentum = Option()
    epsilon = Option()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float | None = 1e-7,
        centered: bool = False,
        *common: Any,
        **options: Any,
    ):
        super().__init__(learning_rate, *common, **options)
        self.rho = number(rho, "rho", minimum=0)
        self.momentum = number(momentum, "momentum", minimum=0)
        self.epsilon = _epsilon(epsilon)
        self.centered = bool(centered)

    def torch_options(self) -> dict[str, Any]:
        """Return the rate of the running mean, momentum and epsilon."""
        return {"alpha": self.rho, "momentum": self.momentum, "eps": self.epsilon, "centered": self.centered}


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares (Duchi et al., 2011). `torch.optim.Adagrad`.

    The sum begins with `initial_accumulator_value`. torch adds `epsilon` to the root, Keras 3 to the sum: the same but
    where that value is set to 0 and gradients are below 0.003. https://jmlr.org/papers/v12/duchi11a.html

    >>> Adagrad().get_config()["initial_accumulator_value"]
    0.1
    """

    torch_class = torch.optim.Adagrad
    may_fuse = True
    epsilon = Option()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float | None = 1e-7,
        *common: Any,
        **options: Any,
    ):
        super().__init__(learning_rate, *common, **options)
        self.initial_accumulator_value = number(initial_accumulator_value, "initial_accumulator_value", minimum=0)
        self.epsilon = _epsilon(epsilon)

    def torch_options(self) -> dict[str, Any]:
        """Return the start of the sum and epsilon."""
        return {"initial_accumulator_value": self.initial_accumulator_value, "eps": self.epsilon}


class Adadelta(Optimizer):
    """Steps of the size that steps usually have, by the gradient's usual size (Zeiler, 2012). `torch.optim.Adadelta`.

    The paper, and Keras 2, have a learning rate of 1. https://arxiv.org/abs/1212.5701

    >>> Adadelta().get_config()["rho"]
    0.95
    """

    torch_class = torch.optim.Adadelta
    may_group = True
    rho = Option()
    epsilon = Option()

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float | None = 1e-7, *common: Any, **options: Any):
        super().__init__(learning_rate, *common, **options)
        self.rho = number(rho, "rho", minimum=0)
        self.epsilon = _epsilon(epsilon)

    def torch_options(self) -> dict[str, Any]:
        """Return the rate of the running means and epsilon."""
        return {"rho": self.rho, "eps": self.epsilon}


class Adafactor(Optimizer):
    """Adam's steps at little memory: of a matrix, only the mean squares of rows and columns are kept (Shazeer & Stern, 2018).

    The learning rate is at most `step ** -0.5` and relative to the size of each weight, which counts as at least
    `epsilon_2`. The means keep `1 - step ** beta_2_decay` of their past; `epsilon_1` is added to the squares; a step is
    held to `clip_threshold` times the usual size. `relative_step` changes nothing, as in Keras 3, where the rate is held
    to `step ** -0.5` in any case. https://arxiv.org/abs/1804.04235

    >>> Adafactor().get_config()["beta_2_decay"]
    -0.8
    """

    torch_class = formulas.Adafactor
    epsilon_1 = Option()
    epsilon_2 = Option()
    clip_threshold = Option()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        *common: Any,
        **options: Any,
    ):
        super().__init__(learning_rate, *common, **options)
        self.beta_2_decay = number(beta_2_decay, "beta_2_decay")
        self.epsilon_1 = number(epsilon_1, "epsilon_1", minimum=0)
        self.epsilon_2 = number(epsilon_2, "epsilon_2", minimum=0)
        self.clip_threshold = number(clip_threshold, "clip_threshold", minimum=0)
        self.relative_step = bool(relative_step)

    def torch_options(self) -> dict[str, Any]:
        """Return the options under the names of `torch.optim.Adafactor`."""
        return {"beta2_decay": self.beta_2_decay, "eps": (self.epsilon_1, self.epsilon_2), "d": self.clip_threshold}


class Ftrl(Optimizer):
    """Follow the regularized leader, for wide and sparse linear models (McMahan et al., 2013).

    The penalties `l1_regularization_strength` and `l2_regularization_strength` hold for the weights as they are found;
    `l2_shrinkage_regularization_strength` for their size at each step. `learning_rate_power`, at most 0, is that of the
    sum of squares, which begins with `initial_accumulator_value`; `beta` adds to the second penalty.
    https://research.google.com/pubs/archive/41159.pdf

    >>> Ftrl().get_config()["learning_rate_power"]
    -0.5
    """

    torch_class = formulas.Ftrl
    l1_regularization_strength = Option()
    l2_regularization_strength = Option()
    l2_shrinkage_regularization_strength = Option()
    beta = Option()

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        *common: Any,
        **options: Any,
    ):
        super().__init__(learning_rate, *common, **options)
        self.learning_rate_power = number(learning_rate_power, "learning_rate_power")
        if self.learning_rate_power > 0:
            raise ValueError(f"'learning_rate_power' must be at most 0, got {learning_rate_power!r}.")
        self.initial_accumulator_value = number(initial_accumulator_value, "initial_accumulator_value", minimum=0)
        self.l1_regularization_strength = number(l1_regularization_strength, "l1_regularization_strength", minimum=0)
        self.l2_regularization_strength = number(l2_regularization_strength, "l2_regularization_strength", minimum=0)
        strength = l2_shrinkage_regularization_strength
        self.l2_shrinkage_regularization_strength = number(strength, "l2_shrinkage_regularization_strength", minimum=0)
        self.beta = number(beta, "beta", minimum=0)

    def torch_options(self) -> dict[str, Any]:
        """Return the options of the formula."""
        return {
            "power": -self.learning_rate_power,
            "accumulator": self.initial_accumulator_value,
            "l1": self.l1_regularization_strength,
            "l2": self.l2_regularization_strength,
            "shrinkage": self.l2_shrinkage_regularization_strength,
            "beta": self.beta,
        }


def _epsilon(value: float | None) -> float:
    return 1e-7 if value is None else number(value, "epsilon", minimum=0)
