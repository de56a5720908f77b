"""`Sharded`: what a trainer does whose model lies in parts on several processes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from torchkeras_fn import optimizers
from torchkeras_fn.engine.distributed.sharding import Sharding
from torchkeras_fn.engine.processes.processes import Processes
from torchkeras_fn.engine.steps.execution import Execution
from torchkeras_fn.optimizers.moving import substitute
from torchkeras_fn.shards import state_in_parts, whole_tree


class Sharded:
    """What `compile(distributed='fsdp')` changes for a `Trainer`. A mixin for any `nn.Module`.

    >>> Sharded()._sharding is None
    True
    """

    optimizer: Any
    _around_steps: Any
    _overrides_train_step: Callable[[], bool]
    _collected: Sequence[nn.Parameter]
    _sharding: Sharding | None = None
    """Says that the module lies in parts on several processes, from the first such `compile` on."""

    def _check_sharding(self, execution: Execution, processes: Processes | None) -> None:
        """Raise `ValueError` for what does not go together with parameters in parts."""
        if self._sharding is not None and (execution.distributed != "fsdp" or processes is not self._sharding.processes):
            raise ValueError(
                f"The weights of this model lie in parts on {self._sharding.processes.count} processes, and stay there: compile it with "
                "distributed='fsdp', or save it and load it into another model."
            )

    def _shard(self, module: nn.Module, device: torch.device, processes: Processes) -> None:
        """Share the parameters out, if they are not yet, and give the optimizer the new ones. A collective."""
        if self._sharding is not None:
            return
        self._sharding = sharding = Sharding(module, device, processes)
        optimizer = self.optimizer
        if isinstance(optimizer, optimizers.Optimizer):
            optimizer.follow_excluded(sharding.replaced)
        elif isinstance(optimizer, torch.optim.Optimizer):
            state = optimizer.state_dict()
            for group in optimizer.param_groups:
                group["params"] = substitute(group["params"], sharding.replaced)
            optimizer.state.clear()
            optimizer.load_state_dict(state_in_parts(optimizer, state))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        """Raise `RuntimeError` where the parts of a model would be moved or cast, which torch does not know then."""
        if self._sharding is not None:
            raise RuntimeError(
                "The weights of this model lie in parts on several processes, and are not moved or cast any more: do it before compile, "
                "or pass compile(device=...)."
            )
        return super()._apply(fn, recurse)  # type: ignore[misc]

    @contextmanager
    def _in_parts(self, sharding: Sharding, training: bool, mode: AbstractContextManager[Any]) -> Iterator[None]:
        """Weigh the gradients of a user's own steps by the processes' rows, and leave all in order after an error."""
        before, sharding.weighs = sharding.weighs, training and self._overrides_train_step()
        try:
            with mode:
                yield
        except BaseException:
            sharding.give_up()
            raise
        finally:
            sharding.weighs = before

    @contextmanager
    def _assembled(self, kept: bool) -> Iterator[None]:
        """Have the whole model and its optimizer's state on the CPU, to be written, in the processes that say `kept`. A collective.

        The others keep their parts, and know nothing of it.
        """
        if self._sharding is None:
            yield
            return
        with ExitStack() as after:
            exchanges = [*self._whole_weights(self._sharding.module, kept)]
            if kept:
                for holder, key, value in exchanges:
                    after.callback(holder.__setitem__, key, holder[key])
                    holder[key] = value
                for part, own in self._sharding.classes.items():
                    after.callback(setattr, part, "__class__", type(part))
                    part.__class__ = own  # under whose name it is saved
            yield

    def _whole_weights(self, module: nn.Module, kept: bool) -> Iterator[tuple[dict[Any, Any], Any, Any]]:
        """Gather everything, and yield what is to stand where."""
        replaced: dict[int, Any] = {}
        for part in {id(part._parameters): part for part in module.modules()}.values():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    if id(parameter) not in replaced:
                        replaced[id(parameter)] = nn.Parameter(whole_tree(parameter.detach(), kept), requires_grad=parameter.requires_grad)
                    yield part._parameters, name, replaced[id(parameter)]
        yield vars(self), "_collected", substitute(self._collected, replaced)
        optimizer = self.optimizer
        if isinstance(optimizer, optimizers.Optimizer):
            yield vars(optimizer), "parameters", substitute(optimizer.parameters, replaced)
            for keeper, name in optimizer.kept_for_parameters():
                yield vars(keeper), name, whole_tree(getattr(keeper, name), kept)
            optimizer = optimizer.torch_optimizer
        around = self._around_steps
        if around is not None and around.gathered is not None:
            yield vars(around.gathered), "sums", whole_tree(around.gathered.sums, kept)
        if isinstance(optimizer, torch.optim.Optimizer):
            for group in optimizer.param_groups:
                yield group, "params", substitute(group["params"], replaced)
            state = {replaced.get(id(parameter), parameter): whole_tree(values, kept) for parameter, values in optimizer.state.items()}
            yield vars(optimizer), "state", state
