"""Optimizers: torch's, under Keras' names and with Keras' defaults."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from torchkeras_fn.configurable import Configurable
from torchkeras_fn.fused import FusedStep
from torchkeras_fn.registry import Registry


class Optimizer(Configurable):
    """A description of a torch optimizer, bound to a model's parameters by `compile`.

    `learning_rate` (or `lr`) can be read and set at any time. `clipnorm` limits the norm of each gradient,
    `global_clipnorm` that of all together, `clipvalue` each number. `decay` divides the learning rate by
    `1 + decay * iterations`, as in Keras 2. `weight_decay` shrinks the weights by that share of the learning rate at each
    step, apart from the gradient (Loshchilov & Hutter, 2017). Once bound, `step`, `zero_grad`, `state_dict` and `param_groups` are those of
    the torch optimizer, which is at `torch_optimizer`.

    >>> Adam(lr=0.01).learning_rate
    0.01
    """

    torch_class: ClassVar[type[torch.optim.Optimizer]]
    may_fuse: ClassVar[bool] = False

    def __init__(
        self,
        learning_rate: float = 0.001,
        *,
        lr: float | None = None,
        decay: float = 0.0,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ):
        rate = learning_rate if lr is None else lr
        if not isinstance(rate, (int, float)) and not hasattr(rate, "item"):
            raise ValueError(f"'learning_rate' must be a number, got {rate!r} of type {type(rate).__name__}.")
        if float(rate) < 0:
            raise ValueError(f"'learning_rate' must not be negative, got {rate!r}.")
        self.name = name or type(self).__name__.lower()
        self._learning_rate = float(rate)
        self.decay = float(decay)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.iterations = 0
        self.taken = False
        """Whether a model was compiled with it: another one takes a copy."""
        self.torch_optimizer: torch.optim.Optimizer | None = None
        self.parameters: list[torch.Tensor] = []
        self.constraints: list[Callable[[], None]] = []

    def __getstate__(self) -> dict[str, Any]:
        """A copy is given the constraints of its own weights by its model."""
        return {**self.__dict__, "constraints": []}

    def torch_options(self) -> dict[str, Any]:
        """Return the arguments of the torch optimizer, learning rate and weight decay aside."""
        return {}

    def bind(self, parameters: Sequence[torch.Tensor], constraints: Sequence[Callable[[], None]] = ()) -> None:
        """Make the torch optimizer for these parameters; `constraints` are called after each step."""
        self.torch_optimizer = self.make(parameters) if parameters else None
        self.parameters = list(parameters)
        if self.torch_optimizer is not None:
            self._take_step = FusedStep(self.torch_optimizer, self.parameters)
        self.constraints = list(constraints)
        self.iterations = 0

    def make(self, parameters: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
        """Return a new torch optimizer for these parameters."""
        options = {"lr": self._learning_rate, **self.torch_options()}
        device = parameters[0].device.type
        if self.may_fuse and device in ("cpu", "cuda", "xpu", "mps") and all(p.dtype.is_floating_point for p in parameters):
            options["fused"] = True
        return self.torch_class(parameters, **options)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Clip the gradients where asked for, take a step, and apply the constraints."""
        if self.torch_optimizer is None:
            return
        if self.clipnorm is not None or self.clipvalue is not None or self.global_clipnorm is not None:
            self._clip()
        if self.decay:
            self._set_rate(self._learning_rate / (1 + self.decay * self.iterations))
        if self.weight_decay:
            with torch.no_grad():
                torch._foreach_mul_(self.parameters, 1 - self.learning_rate * self.weight_decay)
        self._take_step()
        self.iterations += 1
        for apply in self.constraints:
            apply()

    def _clip(self) -> None:
        gradients = [parameter for parameter in self.parameters if parameter.grad is not None]
        if self.clipvalue is not None:
            torch.nn.utils.clip_grad_value_(gradients, self.clipvalue)
        if self.clipnorm is not None:
            for parameter in gradients:
                torch.nn.utils.clip_grad_norm_(parameter, self.clipnorm)
        if self.global_clipnorm is not None:
            torch.nn.utils.clip_grad_norm_(gradients, self.global_clipnorm)

    @property
    def learning_rate(self) -> float:
        """The learning rate: that of the torch optimizer once bound, whoever set it."""
        if self.torch_optimizer is not None and not self.decay:
            return float(self.torch_optimizer.param_groups[0]["lr"])
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._learning_rate = float(value)
        self._set_rate(self._learning_rate)

    @property
    def lr(self) -> float:
        """The learning rate, under its old name."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    def _set_rate(self, rate: float) -> None:
        for group in self.torch_optimizer.param_groups if self.torch_optimizer is not None else []:
            group["lr"] = rate

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the learning rate as it is now."""
        config = super().get_config()
        config.pop("lr", None)
        return {**config, "learning_rate": self.learning_rate}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the torch optimizer, and the number of steps taken."""
        state = self.torch_optimizer.state_dict() if self.torch_optimizer is not None else {}
        return {**state, "iterations": self.iterations}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        state = dict(state)
        self.iterations = int(state.pop("iterations", 0))
        if self.torch_optimizer is not None:
            self.torch_optimizer.load_state_dict(state)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of the torch optimizer."""
        return self.torch_optimizer.param_groups if self.torch_optimizer is not None else []


class SGD(Optimizer):
    """Gradient descent, with `momentum`, and Nesterov's with `nesterov=True`. `torch.optim.SGD`.

    >>> SGD(0.1, momentum=0.9).get_config()["momentum"]
    0.9
    """

    torch_class = torch.optim.SGD
    may_fuse = True

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"'momentum' must be between 0 and 1, got {momentum!r}.")
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)

    def torch_options(self) -> dict[str, Any]:
        """Return momentum and Nesterov, which means nothing without momentum."""
        return {"momentum": self.momentum, "nesterov": self.nesterov and self.momentum > 0}


class Adam(Optimizer):
    """Adam (Kingma & Ba, 2014), and AMSGrad with `amsgrad=True`. `torch.optim.Adam`.

    >>> Adam().get_config()["beta_2"]
    0.999
    """

    torch_class = torch.optim.Adam
    may_fuse = True

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.epsilon = 1e-7 if epsilon is None else float(epsilon)
        self.amsgrad = bool(amsgrad)

    def torch_options(self) -> dict[str, Any]:
        """Return the betas, epsilon and AMSGrad."""
        return {"betas": (self.beta_1, self.beta_2), "eps": self.epsilon, "amsgrad": self.amsgrad}


class RMSprop(Optimizer):
    """Gradients divided by a running mean of their size (Tieleman & Hinton, 2012). `torch.optim.RMSprop`.

    >>> RMSprop().get_config()["rho"]
    0.9
    """

    torch_class = torch.optim.RMSprop

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float | None = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.rho = float(rho)
        self.momentum = float(momentum)
        self.epsilon = 1e-7 if epsilon is None else float(epsilon)
        self.centered = bool(centered)

    def torch_options(self) -> dict[str, Any]:
        """Return the rate of the running mean, momentum and epsilon."""
        return {"alpha": self.rho, "momentum": self.momentum, "eps": self.epsilon, "centered": self.centered}


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


registry = Registry("optimizer", {"SGD": SGD, "Adam": Adam, "RMSprop": RMSprop})


def get(identifier: Any) -> Any:
    """Return an `Optimizer` for a name, a config or a class; a torch optimizer, class or `partial` is given back as it is.

    Raises `ValueError` for anything else, and for an unknown name with the nearest known one.

    >>> get("adam").learning_rate
    0.001
    """
    if isinstance(identifier, (Optimizer, torch.optim.Optimizer)) or is_torch_factory(identifier):
        return identifier
    if identifier is None or not isinstance(identifier, (str, Mapping, type)):
        raise ValueError(
            f"Expected an optimizer's name, an Optimizer, or a torch.optim optimizer, class or functools.partial; "
            f"got {identifier!r} of type {type(identifier).__name__}."
        )
    found = registry.get(identifier)
    if not isinstance(found, (Optimizer, torch.optim.Optimizer)):
        raise ValueError(f"{identifier!r} is not an optimizer.")
    return found


def check(optimizer: Any, parameters: Sequence[torch.Tensor] | None = None, with_closure: bool = False) -> None:
    """Raise what torch says to the options of an optimizer, and `ValueError` for one that trains none of these parameters.

    One that needs a closure for its steps is refused too, unless they are taken `with_closure`.

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
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty and not with_closure:
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


def serialize(optimizer: Any) -> Any:
    """Return the config that `deserialize` turns back into the optimizer.

    >>> serialize(Adam())["class_name"]
    'Adam'
    """
    return registry.serialize(optimizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the optimizer that `serialize` described.

    >>> deserialize({"class_name": "SGD", "config": {"learning_rate": 0.5}}).lr
    0.5
    """
    return registry.deserialize(config, custom_objects)
