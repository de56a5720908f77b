"""A model that several processes train, each with a copy of its own: gradients are averaged, and so the copies stay alike."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_leaves, tree_map_only

from torchkeras_fn import optimizers, portion
from torchkeras_fn.engine.basics.untouched import Untouched
from torchkeras_fn.engine.processes.processes import Processes
from torchkeras_fn.engine.steps.tracing import attributes_as_before


class Replica:
    """What runs a model's forward pass for a training step; the backward pass then averages the gradients over the processes.

    The work is `DistributedDataParallel`'s. A copy of a model makes a replica of its own.
    """

    def __init__(self) -> None:
        self.run: Callable[[Any], Any] | None = None
        self._made_for: list[Any] = []

    def __reduce__(self) -> Any:
        return Replica, ()

    def fit(self, parts: list[Any], make: Callable[[], Callable[[Any], Any] | None]) -> None:
        """Be made anew where the parts that it was made for are others now. A collective then."""
        if len(parts) != len(self._made_for) or any(one is not other for one, other in zip(parts, self._made_for, strict=True)):
            self.run, self._made_for = None, parts
            self.run = make()


class Weighed:
    """Scales a loss, by `scale` where that is not `None`, and by what it counts among those of all processes.

    >>> Weighed(None)(torch.ones(()))
    tensor(1.)
    """

    def __init__(self, scale: Callable[[torch.Tensor], torch.Tensor] | None):
        self.scale = scale

    @classmethod
    def over(cls, scale: Callable[[torch.Tensor], torch.Tensor] | None) -> "Weighed":
        """Return one that weighs once, also in a copy that was made in the middle of a training."""
        return scale if isinstance(scale, Weighed) else cls(scale)

    def __call__(self, loss: torch.Tensor) -> torch.Tensor:
        own = portion.current()
        loss = loss if self.scale is None else self.scale(loss)
        return loss if own is None or own.weight == 1.0 else loss * own.weight


class _View(nn.Module):
    """The parameters of a module, and the function that runs it and returns all that the loss is made of."""

    def __init__(self, module: nn.Module, run: Callable[[Any], Any], unused: nn.Parameter | None):
        super().__init__()
        self.module, self._run, self.unused = module, run, unused
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers()]

    def forward(self, x: Any) -> Any:
        return self._run(x)


def replicate(module: nn.Module, run: Callable[[Any], Any], processes: Processes, is_static: bool) -> Callable[[Any], Any] | None:
    """Return a replica of a module that `run` runs; `None` where nothing is trained. A collective, which shares the first's weights.

    `is_static` says that every step uses the same parameters; otherwise each step looks for those that it does not use.
    Buffers are left alone: those of a stateful layer belong to the rows of each process.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        return None
    # torch warns where it looks for unused parameters and finds none: here is one
    unused = None if is_static else nn.Parameter(torch.zeros_like(trained[0].flatten()[:1]))
    view = _View(module, run, unused)
    replica = DistributedDataParallel(
        view,
        process_group=processes.group_for(trained[0].device),
        gradient_as_bucket_view=True,
        static_graph=is_static,
        find_unused_parameters=not is_static,
    )
    return _Settling(replica, view, trained, processes) if is_static else replica


class _Settling:
    """Before the first step, lets torch put the gradients in the order in which it sends them from then on. A collective.

    It does so after two steps that it has seen, by the order in which gradients came, and three processes or more then add them
    in another order. A training that is taken up in its middle must add them as one that was never interrupted: so the two
    steps are taken here, with gradients of 0 that come in an order that is always the same. Where one of the processes cannot
    tell which parameters a step uses, or watches their gradients, the first steps are left as they are in all.
    """

    def __init__(self, replica: DistributedDataParallel, view: _View, trained: Sequence[nn.Parameter], processes: Processes):
        self._replica, self._view, self._trained, self._processes = replica, view, trained, processes
        self._is_settled = False

    def __call__(self, x: Any) -> Any:
        if not self._is_settled:
            self._is_settled = True
            used = _used(self._view, self._trained, x)
            if not self._processes.any(not used):
                self._settle(used)
        return self._replica(x)

    def _settle(self, used: Sequence[nn.Parameter]) -> None:
        view, own = self._view, self._view._run
        gradients = [parameter.grad for parameter in self._trained]
        view._run = lambda _: [parameter.real.sum() for parameter in used]
        try:
            with torch.inference_mode(False), torch.enable_grad():
                for _ in range(2):
                    for parameter in self._trained:
                        parameter.grad = None
                    sums = self._replica(None)
                    torch.autograd.backward(sums, [torch.zeros_like(total) for total in sums])
        finally:
            view._run = own
            for parameter, gradient in zip(self._trained, gradients, strict=True):
                parameter.grad = gradient


def _used(view: _View, trained: Sequence[nn.Parameter], x: Any) -> list[nn.Parameter]:
    """Return the parameters on which the loss of a batch depends, told on tensors without data; none where that does not tell."""
    if any(parameter._backward_hooks or parameter._post_accumulate_grad_hooks for parameter in trained):  # type: ignore[attr-defined]
        return []
    try:
        # No random state is put back: nothing is drawn, and threads may be drawing batches at this moment.
        with attributes_as_before(view.module), FakeTensorMode(allow_non_fake_inputs=True) as fake, Untouched(), torch.enable_grad():
            outputs = view._run(tree_map_only(torch.Tensor, fake.from_tensor, x))
            ends = [end for end in tree_leaves((outputs.predictions, outputs.losses)) if getattr(end, "requires_grad", False)]
            found = torch.autograd.grad(ends, list(trained), [torch.ones_like(end) for end in ends], allow_unused=True)
    except Exception:
        return []
    return [parameter for parameter, gradient in zip(trained, found, strict=True) if gradient is not None]


@contextmanager
def averaging(found: Sequence[Any], processes: Processes) -> Iterator[None]:
    """Let optimizers, ours and torch's, average the gradients over the processes before each step within the block."""

    def average(parameters: Sequence[torch.Tensor]) -> None:
        _average(parameters, processes)

    def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        average([parameter for group in optimizer.param_groups for parameter in group["params"]])

    handles = []
    for optimizer in found:
        if isinstance(optimizer, optimizers.Optimizer):
            optimizer.average = average
        else:
            handles.append(optimizer.register_step_pre_hook(before_step))
            optimizer._optimizer_step_pre_hooks.move_to_end(handles[-1].id, last=False)  # before the scale is taken out
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for optimizer in found:
            if isinstance(optimizer, optimizers.Optimizer):
                optimizer.average = None


def optimizers_of(model: Any) -> list[Any]:
    """Return the optimizers that a model holds in its attributes, and in lists and dicts there.

    >>> class Two:
    ...     optimizer, others = None, {}
    >>> optimizers_of(Two())
    []
    """
    found: dict[int, Any] = {}
    for value in vars(model).values():
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, (optimizers.Optimizer, torch.optim.Optimizer)):
                found[id(part)] = part
    return list(found.values())


def _average(parameters: Sequence[torch.Tensor], processes: Processes) -> None:
    """Put the mean over all rows in the place of each gradient; a process that has none has one of 0, if another has one."""
    own = portion.current()
    if own is None:
        return
    given = processes.total([float(parameter.grad is not None) for parameter in parameters])
    kinds: dict[Any, list[torch.Tensor]] = {}
    for parameter, count in zip(parameters, given, strict=True):
        if count:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            kinds.setdefault((parameter.grad.device, parameter.grad.dtype), []).append(parameter.grad)
    with torch.no_grad():
        for gradients in kinds.values():
            together = processes.add(_flatten_dense_tensors(gradients).mul_(own.share))
            for gradient, mean in zip(gradients, _unflatten_dense_tensors(together, gradients), strict=True):
                gradient.copy_(mean)
