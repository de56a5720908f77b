"""`Sharding`: a model that is too large for one device, of which each process keeps a part. The work is `fully_shard`'s (FSDP2).

The weights of a layer are whole on every process while the layer runs, forward and backward, and in parts otherwise; so
are their gradients, and with them the state of the optimizer. https://arxiv.org/abs/2304.11277
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only

from torchkeras_fn import portion
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.engine.processes.processes import Processes
from torchkeras_fn.origin import is_ours
from torchkeras_fn.shards import is_sharded, like, parts, torch_distributed


class Sharding:
    """What `compile(distributed='fsdp')` makes of a module: its parameters are in parts on the processes from then on.

    The weights are those of the first process. `replaced` maps the `id` of a parameter to the one that stands in its
    place. Making one is a collective, and so is every call of the module then.
    """

    def __init__(self, module: nn.Module, device: torch.device, processes: Processes):
        self.module, self.processes = module, processes
        self.weighs = False
        """Whether the gradients count by the rows of each process, where the step does not see to it."""
        self._fsdp = torch_distributed("fsdp")
        mesh = torch_distributed("device_mesh").DeviceMesh
        self._mesh = mesh.from_group(processes.group_for(device), device.type)
        before = dict(module.named_parameters(remove_duplicate=False))
        self._single = list(dict.fromkeys(parameter for parameter in before.values() if parameter.ndim == 0))
        units = _separate(module, [unit for unit in _units_in(module) if next(unit.parameters(), None) is not None])
        rest = _rest_of(module)
        if rest is not None:
            units.insert(0, rest)
            rest.register_forward_hook(lambda rest, inputs, outputs: self._weighed(outputs))
        self.classes = {unit: type(unit) for unit in units}
        """What the sharded modules are, where torch makes `FSDPModule`s of them."""
        self._root: Any = _Root(module, units)
        for part in (*reversed(units), self._root):
            self._shard(part, device)
        self._place([*self._single, *module.buffers()], device)
        self._begin(units)
        after = dict(module.named_parameters(remove_duplicate=False))
        self.replaced = {id(old): after[name] for name, old in before.items() if after[name] is not old}
        for parameter in self.replaced.values():
            _hook(parameter, parameter.register_hook, functools.partial(_in_its_layout, parameter))
        for parameter in self._single:
            _hook(parameter, parameter.register_post_accumulate_grad_hook, self._average_gradient)

    # ------------------------------------------------------------------ making it

    def _shard(self, part: nn.Module, device: torch.device) -> None:
        """Share out what of a module's parameters is not yet; a single number is too small for it, and stays whole."""
        ignored = {*self._single, *(parameter for parameter in part.parameters() if is_sharded(parameter))}
        self._place([parameter for parameter in part.parameters() if parameter not in ignored], device)
        part.register_forward_hook(_without_views)
        self._fsdp.fully_shard(part, mesh=self._mesh, reshard_after_forward=True, ignored_params=ignored)

    def _place(self, tensors: Sequence[torch.Tensor], device: torch.device) -> None:
        """Put tensors on the device, with the values that they have in the first process."""
        for tensor in tensors:
            tensor.data = tensor.data.to(device).contiguous()
        self.processes.take_from_first(tensors)

    def _begin(self, units: Sequence[Any]) -> None:
        """Have torch make ready what it makes at the first call: a prediction would make it for predictions alone.

        Layers and models get their classes back, by which this library knows them.
        """
        with torch.inference_mode(False), torch.no_grad():
            self._root(_nothing)
            for part in (*units, self._root):
                part.unshard()
                part.reshard()
        for part in units:
            if part is self.module or isinstance(part, Layer):
                part.__class__ = self.classes[part]
            else:
                type(part).__module__ = self.classes[part].__module__

    def _average_gradient(self, parameter: torch.Tensor) -> None:
        gradient: Any = parameter.grad
        self.processes.add(gradient).div_(self.processes.count)

    # ------------------------------------------------------------------ using it

    def __reduce__(self) -> Any:
        raise TypeError(
            "A model in parts is not copied or pickled as it is: use clone_model and set_weights, or save it and load it in one process."
        )

    def over(self, view: Any) -> Any:
        """Return a view of the module, which has a `run`, such that all weights it may need are there when it runs."""
        return _Over(view, functools.partial(self.call, view.run))

    def call(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Return what a function makes of the inputs while the weights that belong to no layer are whole."""
        return self._weighed(self._root(function, *inputs))

    def _weighed(self, outputs: Any) -> Any:
        """The outputs of the module, from which each process's gradients come by its share of the rows."""
        own = portion.current()
        if self.weighs and own is not None and own.weight != 1.0 and torch.is_grad_enabled():
            for tensor in tree_leaves(outputs):
                if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                    tensor.register_hook(functools.partial(torch.mul, own.weight))
        return outputs

    def give_up(self) -> None:
        """Be ready for another call after one that an error ended, as far as this version of torch can."""
        getattr(self._root, "reset_iter_state", _nothing)()


class _Root(nn.Module):
    """What stands above all: what it is called with runs inside torch's hooks."""

    def __init__(self, module: nn.Module, units: Sequence[nn.Module]):
        super().__init__()
        self.whole, self.units = module, nn.ModuleList(units)

    def forward(self, function: Callable[..., Any], *inputs: Any) -> Any:
        return function(*inputs)


class _Over:
    """A view as `Flat` is one, which runs under the root."""

    def __init__(self, view: Any, run: Callable[..., Any]):
        self.module, self.is_watched, self.run = view.module, view.is_watched, run


def _in_its_layout(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """A gradient that comes past the call of a layer, as that of a penalty: in parts as the parameter is, which the kernels trust."""
    sharded: Any = like(parameter, gradient)
    (own,) = parts([sharded])
    if own.is_contiguous():  # the sharded gradient itself says so in any case
        return sharded  # type: ignore[no-any-return]
    place = {"shape": sharded.shape, "stride": sharded.stride()}
    return type(sharded).from_local(own.contiguous(), sharded.device_mesh, sharded.placements, **place)  # type: ignore[no-any-return]


def _hook(parameter: torch.Tensor, register: Callable[[Any], Any], hook: Callable[..., Any]) -> None:
    """Register a hook for the gradient of a parameter, which may be frozen for now."""
    trained = parameter.requires_grad
    parameter.requires_grad_(True)
    register(hook)
    parameter.requires_grad_(trained)


def _nothing() -> None:
    return None


def _without_views(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """What a module returns, and no view of it: what is changed in place loses the hooks by which torch brings the weights back."""
    return tree_map_only(torch.Tensor, _no_view, outputs) if torch.is_grad_enabled() else outputs


def _no_view(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone() if tensor.requires_grad and tensor._base is not None else tensor


# ---------------------------------------------------------------------- which modules are shared out each by itself


def _rest_of(module: nn.Module) -> nn.Module | None:
    """The module whose call needs the parameters that belong to no layer; none where the graph reads them."""
    if isinstance(module, Drawn) and module.uses_graph():
        return None
    return module.module if _is_description(module) else module  # type: ignore[return-value]


def _units_in(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a module, or of a plain one what is inside it and inside its lists; the outer come before the inner."""
    if isinstance(module, Drawn) and module.uses_graph():
        for layer in module.layers:
            yield from _units_of(layer)
        return
    for child in (module.module if _is_description(module) else module).children():  # type: ignore[union-attr]
        yield from _units_of(child)


def _units_of(part: nn.Module) -> Iterator[nn.Module]:
    if isinstance(part, Drawn) and part.uses_graph() or type(part) in (nn.Sequential, nn.ModuleList, nn.ModuleDict):
        yield from _units_in(part)
    elif _is_description(part):
        yield part.module  # type: ignore[misc]
        if isinstance(part.activation, nn.Module):
            yield part.activation
    else:
        yield part
        yield from _blocks_in(part)


def _blocks_in(part: nn.Module) -> Iterator[nn.Module]:
    """What is in the lists of a module of the user's, such as the blocks of a transformer."""
    for child in part.children():
        if type(child) is nn.ModuleList:
            yield from _units_in(child)
        elif not isinstance(child, Layer):
            yield from _blocks_in(child)


def _is_description(part: nn.Module) -> bool:
    """Whether a layer leaves the work to its torch module, which is then called in its place."""
    return isinstance(part, Layer) and part.module is not None and type(part).call is Layer.call and is_ours(type(part).forward)


def _separate(module: nn.Module, units: list[nn.Module]) -> list[nn.Module]:
    """The units without those that share a parameter with others: torch keeps one in sync within a group of parameters only."""
    home = {id(part._parameters): id(unit) for unit in units for part in unit.modules()}
    homes: dict[int, set[int]] = {}
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None:
                homes.setdefault(id(parameter), set()).add(home.get(id(part._parameters), 0))
    together = {unit for found in homes.values() if len(found) > 1 for unit in found}
    return [unit for unit in dict.fromkeys(units) if id(unit) not in together]
