"""Optimizers in torch's manner that torch lacks: `torch.optim.Optimizer`s whose step reads nothing from the device."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from torchkeras_fn.shards import like, norms, parts

Tensors = list[torch.Tensor]


class FormulaOptimizer(torch.optim.Optimizer):
    """A torch optimizer by a formula over all parameters of a group. Subclasses say how a parameter's state begins and goes on.

    The state of a parameter holds the number of its steps as `step`, a plain number.

    >>> class Shrink(FormulaOptimizer):
    ...     def update(self, group, parameters, gradients, states):
    ...         torch._foreach_mul_(parameters, 0.5)
    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> optimizer, weight.grad = Shrink([weight], lr=0.1), torch.ones(1)
    >>> optimizer.step()
    >>> weight.item(), optimizer.state[weight]["step"]
    (0.5, 1)
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.001, **options: Any):
        super().__init__(params, {"lr": lr, **options})

    def begin(self, group: dict[str, Any], parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the state of a parameter before its first step."""
        return {}

    def update(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors, states: list[dict[str, Any]]) -> None:
        """Change the parameters and their states, which count this step already."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take a step, and return what the closure returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in parameters:
                state = self.state[parameter]
                if not state:
                    state.update(step=0, **self.begin(group, parameter))
                state["step"] += 1
            if parameters:
                self.update(group, parameters, [p.grad for p in parameters], [self.state[p] for p in parameters])
        return loss


class Lion(FormulaOptimizer):
    """Steps of one size, in the direction of the sign of a momentum (Chen et al., 2023). https://arxiv.org/abs/2302.06675

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> lion, weight.grad = Lion([weight], lr=0.25, betas=(0.9, 0.99)), torch.full((1,), 7.0)
    >>> lion.step()
    >>> weight.item()
    0.75
    """

    def begin(self, group: dict[str, Any], parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return a momentum of zero."""
        return {"exp_avg": torch.zeros_like(parameter)}

    def update(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors, states: list[dict[str, Any]]) -> None:
        """Go against the sign of gradient and momentum."""
        beta_1, beta_2 = group["betas"]
        parameters, gradients, momenta = parts(parameters), parts(gradients), parts(state["exp_avg"] for state in states)
        directions = torch._foreach_lerp(gradients, momenta, beta_1)
        torch._foreach_sign_(directions)
        torch._foreach_add_(parameters, directions, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, gradients, 1 - beta_2)


class Lamb(FormulaOptimizer):
    """Adam's steps, each as long as a share of its weight (You et al., 2019). https://arxiv.org/abs/1904.00962

    >>> weight = torch.nn.Parameter(torch.full((1,), 4.0))
    >>> lamb, weight.grad = Lamb([weight], lr=0.25, betas=(0.9, 0.999), eps=0.0), torch.ones(1)
    >>> lamb.step()
    >>> weight.item()
    3.0
    """

    def begin(self, group: dict[str, Any], parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return means of zero."""
        return {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}

    def update(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors, states: list[dict[str, Any]]) -> None:
        """Take Adam's step, scaled to the norm of the weight."""
        beta_1, beta_2 = group["betas"]
        means, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_lerp_(means, gradients, 1 - beta_1)
        torch._foreach_mul_(squares, beta_2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta_2)
        roots = torch._foreach_div(squares, [1 - beta_2 ** state["step"] for state in states])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        changes = torch._foreach_div(means, [1 - beta_1 ** state["step"] for state in states])
        torch._foreach_div_(changes, roots)
        sizes = zip(norms(parameters), norms(changes), strict=True)
        ratios = [torch.where((weight > 0) & (change > 0), weight / change, 1.0) for weight, change in sizes]
        torch._foreach_mul_(parts(changes), ratios)
        torch._foreach_add_(parameters, changes, alpha=-group["lr"])


class Ftrl(FormulaOptimizer):
    """Follow the regularized leader (McMahan et al., 2013). https://research.google.com/pubs/archive/41159.pdf

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> options = {"power": 0.5, "accumulator": 0.0, "l1": 0.0, "l2": 0.0, "shrinkage": 0.0, "beta": 0.0}
    >>> ftrl, weight.grad = Ftrl([weight], lr=0.5, **options), torch.full((1,), 2.0)
    >>> ftrl.step()
    >>> weight.item()
    -0.5
    """

    def begin(self, group: dict[str, Any], parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the accumulator at its start, and a linear term of zero."""
        return {"sum": torch.full_like(parameter, group["accumulator"]), "linear": torch.zeros_like(parameter)}

    def update(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors, states: list[dict[str, Any]]) -> None:
        """Set the parameters to the minimum of all losses so far, as far as their gradients tell, and of the penalties."""
        rate, power, l1 = group["lr"], group["power"], group["l1"]
        if rate == 0:  # at the end of many a schedule
            return
        parameters, gradients = parts(parameters), parts(gradients)
        sums, linears = (parts(state[name] for state in states) for name in ("sum", "linear"))
        before = torch._foreach_pow(sums, power)
        torch._foreach_addcmul_(sums, gradients, gradients)
        quadratics = torch._foreach_pow(sums, power)
        torch._foreach_add_(linears, torch._foreach_add(gradients, parameters, alpha=2 * group["shrinkage"]))
        torch._foreach_addcmul_(linears, torch._foreach_sub(quadratics, before), parameters, value=-1 / rate)
        torch._foreach_div_(quadratics, rate)
        torch._foreach_add_(quadratics, 2 * group["l2"] + group["beta"] / rate)
        leaders = torch._foreach_clamp_max(torch._foreach_clamp_min(linears, -l1), l1)
        torch._foreach_sub_(leaders, linears)
        torch._foreach_div_(leaders, quadratics)
        torch._foreach_copy_(parameters, leaders)


class Adafactor(FormulaOptimizer):
    """Adam's steps with the mean squares of a matrix kept as those of its rows and columns (Shazeer & Stern, 2018).

    `torch.optim.Adafactor` reads two norms of every parameter from the device at each step; this one reads none. Of more
    than two axes the first two count, which in torch's layouts are those of the channels, as in Keras' the last two.
    https://arxiv.org/abs/1804.04235

    >>> weight = torch.nn.Parameter(torch.ones(2, 2))
    >>> adafactor, weight.grad = Adafactor([weight], lr=0.5, beta2_decay=-0.8, eps=(1e-30, 1e-3), d=1.0), torch.ones(2, 2)
    >>> adafactor.step()
    >>> weight[0, 0].item()
    0.5
    """

    def begin(self, group: dict[str, Any], parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return mean squares of zero: of rows and columns for a matrix, of all numbers for a vector."""
        if parameter.dim() < 2:
            return {"variance": torch.zeros_like(parameter)}
        return {"row_var": torch.zeros_like(parameter[:, :1]), "col_var": torch.zeros_like(parameter[:1])}

    def update(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors, states: list[dict[str, Any]]) -> None:
        """Take a step relative to the size of each parameter, shortened where it would be far above the usual."""
        for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
            newest = state["step"] ** group["beta2_decay"]
            squares = gradient.square().add_(group["eps"][0])
            if parameter.dim() < 2:
                means = state["variance"].lerp_(squares, newest)
            else:
                rows = state["row_var"].lerp_(like(state["row_var"], squares.mean(1, keepdim=True)), newest)
                columns = state["col_var"] = state["col_var"].lerp(squares.mean(0, keepdim=True), newest)
                means = rows / rows.mean(0, keepdim=True) * columns
            change = gradient * means.rsqrt()
            change /= (_size(change) / group["d"]).clamp_min(1.0)
            change *= _size(parameter).clamp_min(group["eps"][1])
            parameter.sub_(like(parameter, change), alpha=min(group["lr"], state["step"] ** -0.5))


class Muon(FormulaOptimizer):
    """Steps of matrices along their momentum made orthogonal (Jordan et al., 2024); other parameters take Adam's steps.

    The group's `by_adam` says of each parameter whether it takes Adam's, and `decays` by which share of the learning rate it
    shrinks at each step. `torch.optim.Muon` takes matrices alone, and computes in bfloat16. https://github.com/KellerJordan/Muon

    >>> weight = torch.nn.Parameter(torch.zeros(2, 2))
    >>> options = {"by_adam": [False], "decays": [0.0], "momentum": 0.95, "nesterov": True, "rms_rate": None}
    >>> muon = Muon([weight], lr=1.0, **options, coefficients=(1.5, -0.5, 0.0), iterations=20)
    >>> weight.grad = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    >>> muon.step()
    >>> weight.round(decimals=3).abs().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def begin(self, group: dict[str, Any], parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return a momentum of zero, and for Adam's steps mean squares of zero."""
        momentum = {"exp_avg": torch.zeros_like(parameter)}
        return {**momentum, "exp_avg_sq": torch.zeros_like(parameter)} if _by_parameter(group, "by_adam")[parameter] else momentum

    def update(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors, states: list[dict[str, Any]]) -> None:
        """Shrink each parameter, and take its step."""
        rate, decays = group["lr"], _by_parameter(group, "decays")
        for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
            if decays[parameter]:
                parameter.mul_(1 - rate * decays[parameter])
            if "exp_avg_sq" in state:
                parameter.sub_(like(parameter, self._by_adam(group, gradient, state)))
                continue
            momentum = state["exp_avg"].mul_(group["momentum"]).add_(gradient)
            direction = orthogonal(gradient + group["momentum"] * momentum if group["nesterov"] else momentum, group)
            size = 1.0 if group["rms_rate"] is None else max(parameter.shape) ** 0.5 * group["rms_rate"]
            parameter.sub_(like(parameter, direction), alpha=rate * size)

    def _by_adam(self, group: dict[str, Any], gradient: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
        beta_1, beta_2 = group["betas"]
        mean = state["exp_avg"].lerp_(gradient, 1 - beta_1)
        square = state["exp_avg_sq"].mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        rate = group["lr"] * group["adam_ratio"] * (1 - beta_2 ** state["step"]) ** 0.5 / (1 - beta_1 ** state["step"])
        change: torch.Tensor = mean * rate / (square.sqrt() + group["eps"])
        return change


def orthogonal(matrix: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """Return about the nearest matrix whose singular values are all 1: `iterations` of Newton's and Schulz's, by their `coefficients`.

    >>> orthogonal(torch.tensor([[3.0]]), {"coefficients": (1.5, -0.5, 0.0), "iterations": 1}).round(decimals=3)
    tensor([[1.]])
    """
    first, second, third = group["coefficients"]
    is_tall = matrix.shape[0] > matrix.shape[1]
    found: torch.Tensor = matrix.t() if is_tall else matrix
    found = found / (torch.linalg.matrix_norm(found, keepdim=True) + 1e-7)
    for _ in range(group["iterations"]):
        product = found @ found.t()
        found = first * found + (second * product + third * product @ product) @ found
    return found.t() if is_tall else found


def _by_parameter(group: dict[str, Any], name: str) -> dict[torch.Tensor, Any]:
    """What a group's list says of each of its parameters."""
    return dict(zip(group["params"], group[name], strict=True))


def _size(tensor: torch.Tensor) -> torch.Tensor:
    """The root of the mean square."""
    return tensor.square().mean().sqrt()
