"""A GPU that is not there: tensors that say they lie on it, while the CPU computes what they hold.

It is as strict as CUDA is, and more so: an operation on tensors of two devices raises, and every time that the host would
have to wait for a GPU is noted in `waits`: where a value is read, or copied from memory that is not pinned, or where the
shape of a result hangs on values. So whole trainings "on a GPU" can be checked on a machine that has none.

Importing this module makes the device known to torch in this process, but not available: nobody is put there unasked.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"

aten = torch.ops.aten
_SHAPED_BY_VALUES = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
    aten.bincount.default,
}
_READING = {aten._local_scalar_dense.default, aten.equal.default, *_SHAPED_BY_VALUES}

waits: list[str] = []
"""What the host has waited for, in order."""


class _Backend:
    """What torch asks a module of the device about it."""

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def is_available() -> bool:
        return False

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def device_count() -> int:
        return 0

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        del seed

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class _Hooks(torch._C._acc.PrivateUse1Hooks):
    def is_available(self) -> bool:
        return False

    def has_primary_context(self, index: int) -> bool:
        return True

    def is_built(self) -> bool:
        return True


_setup_privateuseone_for_python_backend(NAME, _Backend(), _Hooks())
DEVICE = torch.device(NAME, 0)


class Elsewhere(torch.Tensor):
    """A tensor on the device; `held` is the tensor on the CPU that holds its values."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Elsewhere":
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=DEVICE
        )
        made.held = held
        return made

    def __repr__(self, **options: Any) -> str:
        return f"{type(self).__name__}({self.held!r})"

    def as_subclass(self, cls: Any) -> Any:
        return type(cls.__name__, (Elsewhere, cls), {})(self.held)

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(torch.as_tensor(index).to(DEVICE) if isinstance(index, list) else index)

    def new_tensor(self, data: Any, **options: Any) -> Any:
        return torch.tensor(data, **{"dtype": self.dtype, **options}).to(DEVICE)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = function.decompose(*args, **kwargs)  # what is made of others arrives whole in inference mode
        return _run(function, *args, **kwargs) if made is NotImplemented else made


def _held(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.held if isinstance(tensor, Elsewhere) else tensor


def _put(tensor: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode(False):  # a view of a weight is none of inference mode's tensors
        return Elsewhere(tensor)


def _is_pinned(tensor: torch.Tensor) -> bool:
    return any(getattr(one, "was_pinned", False) for one in (tensor, tensor._base))


def _copying(source: torch.Tensor, target: torch.device, non_blocking: bool, what: Any) -> None:
    """Note a copy between the devices that the host waits for."""
    if isinstance(source, Elsewhere) != (target.type == NAME):
        if isinstance(source, Elsewhere):
            waits.append(f"{what}: {tuple(source.shape)} to the host")
        elif not (non_blocking and _is_pinned(source)):
            waits.append(f"{what}: {tuple(source.shape)} from memory that is not pinned, or blocking")


def _run(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation on the tensors that are held, after the checks that a device would make."""
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    given = kwargs.pop("device", None)
    device = torch.device(given) if given is not None else DEVICE if any(isinstance(one, Elsewhere) for one in tensors) else None
    if function is aten._to_copy.default:
        target = args[0].device if given is None else device
        if target.type == NAME or not kwargs.get("non_blocking"):  # torch takes pinned memory for what need not have arrived
            _copying(args[0], target, kwargs.get("non_blocking", False), function)
        copied = function(_held(args[0]), **kwargs)
        return _put(copied) if target.type == NAME else copied
    if function is aten.copy_.default:
        _copying(args[1], args[0].device, args[2] if len(args) > 2 else kwargs.get("non_blocking", False), function)
        _held(args[0]).copy_(_held(args[1]))
        return args[0]
    indices = args[1] if function.overloadpacket in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_) else ()
    for tensor in tensors:
        if not isinstance(tensor, Elsewhere) and tensor.ndim and not any(tensor is index for index in indices):
            raise RuntimeError(f"{function}: tensors on {NAME} and on the CPU; that on the CPU has the shape {tuple(tensor.shape)}")
    if function in _READING or any(isinstance(one, torch.Tensor) and (one.dtype == torch.bool or one.device != DEVICE) for one in indices):
        waits.append(str(function))
    kwargs.pop("pin_memory", None)
    function = aten.reshape.default if function is aten.view.default else function  # kernels of the CPU leave other strides
    result = function(*tree_map_only(torch.Tensor, _held, args), **tree_map_only(torch.Tensor, _held, kwargs))
    if device is not None and device.type == "cpu":
        return result
    if torch.Tag.inplace_view in function.tags:
        return return_and_correct_aliasing(function, args, kwargs, args[0])
    schema = function._schema
    returned = [one.alias_info.before_set for one in schema.returns if one.alias_info is not None and one.alias_info.is_write]
    if returned:
        given = {**dict(zip((argument.name for argument in schema.arguments), args, strict=False)), **kwargs}
        changed = [given[one.name] for one in schema.arguments if one.is_write and one.alias_info.before_set in returned]
        return changed[0] if len(changed) == 1 else tuple(changed)
    return tree_map_only(torch.Tensor, _put, result)


def _lstm_cell(input_gates: Any, hidden_gates: Any, cell: Any, input_bias: Any = None, hidden_bias: Any = None) -> Any:
    """The step that torch takes on a GPU in one kernel."""
    gates = sum(one for one in (input_gates, hidden_gates, input_bias, hidden_bias) if one is not None)
    enter, forget, new, leave = gates.chunk(4, 1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell, gates.new_empty(0)


def _gru_cell(input_gates: Any, hidden_gates: Any, state: Any, input_bias: Any = None, hidden_bias: Any = None) -> Any:
    """The step that torch takes on a GPU in one kernel."""
    from_input = (input_gates if input_bias is None else input_gates + input_bias).chunk(3, 1)
    from_state = (hidden_gates if hidden_bias is None else hidden_gates + hidden_bias).chunk(3, 1)
    reset, update = ((one + other).sigmoid() for one, other in zip(from_input[:2], from_state[:2], strict=True))
    new = (from_input[2] + reset * from_state[2]).tanh()
    return new + update * (state - new), state.new_empty(0)


_steps = torch.library.Library("aten", "IMPL")
_steps.impl("_thnn_fused_lstm_cell", _lstm_cell, "AutogradPrivateUse1")
_steps.impl("_thnn_fused_gru_cell", _gru_cell, "AutogradPrivateUse1")


def _linear_under_autocast(inputs: Any, weight: Any, bias: Any = None) -> Any:
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        dtype = torch.get_autocast_dtype(NAME)
        return torch.nn.functional.linear(inputs.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))


_steps.impl("linear", _linear_under_autocast, "AutocastPrivateUse1")
_casts = torch.library.Library("_", "IMPL")
_casts.fallback(torch.library.fallthrough_kernel, dispatch_key="AutocastPrivateUse1")
_library = torch.library.Library("_", "IMPL")
_library.fallback(_run, dispatch_key="PrivateUse1")


# ---------------------------------------------------------------------- what torch's own needs a real device for


def pin_memory(tensor: torch.Tensor, device: Any = None) -> torch.Tensor:
    """Stand in for `torch.Tensor.pin_memory`."""
    pinned = tensor.clone()
    pinned.was_pinned = True
    return pinned


def moved(tensor: torch.Tensor, device: Any) -> torch.Tensor:
    """Return a tensor on a device, if one is named."""
    return tensor if device is None else tensor.to(device)


class Event:
    """Stands in for `torch.Event`: what the device was asked to do before it has been done when somebody waits for it."""

    def __init__(self, device: Any):
        self.device = torch.device(device)

    def record(self, stream: Any = None) -> None:
        """Mark this moment."""

    def synchronize(self) -> None:
        """Wait for it: only for what was begun before, and not for all that the device has to do."""
