"""A model as a program that runs without this library: an exported program of torch, or an ONNX file."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from torchkeras_fn import config
from torchkeras_fn.engine.additions import collecting
from torchkeras_fn.engine.drawn import Drawn
from torchkeras_fn.engine.inference import Spec, mode_of
from torchkeras_fn.saving.atomic import replacing

_OPTIONS = {
    "torch": {"strict", "prefer_deferred_runtime_asserts_over_guards", "preserve_module_call_signature"},
    "onnx": {"opset_version", "optimize", "custom_translation_table"},
}
_EXAMPLE_BATCH = 6
_EXAMPLE_SIZE = 192  # of an unknown dimension: long enough for a stack of windows, and often divided by 2
_LARGEST_ONNX = 2**31 - 2**20  # bytes: a file in one piece holds less than 2 GiB


class Call(NamedTuple):
    """What is exported: a module, and a `Spec` for every tensor that it is called with; the names of inputs and outputs, if known.

    >>> Call._fields
    ('module', 'args', 'kwargs', 'input_names', 'output_names')
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    input_names: list[str] | None = None
    output_names: list[str] | None = None


def export_model(
    model: Any, filepath: Any, format: str = "torch", verbose: bool | None = None, input_signature: Any = None, **options: Any
) -> None:
    """Write what the model does in inference as a program, for batches of any size. See `Saving.export`."""
    if format not in _OPTIONS:
        raise ValueError(f"A model is exported in the format {' or '.join(map(repr, _OPTIONS))}, got {format!r}.")
    unknown = [name for name in options if name not in _OPTIONS[format]]
    if unknown:
        raise TypeError(f"export to {format!r} takes no argument {unknown[0]!r}; it takes {', '.join(sorted(_OPTIONS[format]))}.")
    if format == "onnx":
        _check_onnx(model)
    call = _call_of(model, input_signature)
    with _target(filepath) as file, mode_of(call.module, training=False), torch.no_grad(), collecting(), _naming(model, format):
        program = _program(call, model._signature().device, options if format == "torch" else {})
        if format == "torch":
            torch.export.save(program, file)
        else:
            file.write(_onnx_bytes(program, call, bool(verbose), options))
    if verbose:
        print(f"Exported {_name_of(model)} to {filepath!r} in the format {format!r}.")


# ---------------------------------------------------------------------- what is exported


def _call_of(model: Any, input_signature: Any) -> Call:
    """Raise `RuntimeError` for a model that is not built, and `ValueError` where nobody knows what it takes."""
    name = _name_of(model)
    if not model._is_built():
        raise RuntimeError(f"{name} is not built, so there is nothing to export. Build it, or call it on data, first.")
    given = None if input_signature is None else _specs(input_signature, config.dtype(None))
    if isinstance(model, Drawn) and model.uses_graph():
        return _drawn_call(model, given)
    is_wrapper = isinstance(model, Drawn) and model.module is not None and type(model).call is Drawn.call
    module = model.module if is_wrapper else model._as_module()
    if given is None and getattr(model, "called_with", None) is not None:
        args, kwargs = model.called_with
        return Call(module, args, kwargs)
    if given is None and getattr(model, "built_for", None) is not None:
        given = _specs(model.built_for, model.dtype)
    if given is None:
        raise ValueError(f"Nobody said what {name} takes. Pass input_signature: tensors, Input(...)s or shapes such as [(None, 3)].")
    if isinstance(given, Mapping):
        return Call(module, (), dict(given)) if model._forward_takes(given) else Call(module, (given,), {})
    if isinstance(given, list) and (len(given) == 1 or model._forward_takes(given)):
        return Call(module, tuple(given), {})
    return Call(module, (given,), {})


def _drawn_call(model: Drawn, given: Any) -> Call:
    names = model.input_names
    if given is None:
        signature = model._signature()  # type: ignore[attr-defined]
        given = [Spec.of(shape, dtype) for shape, dtype in zip(signature.input_shapes, signature.input_dtypes, strict=True)]
    given = model._ordered(model._drawn(), given if isinstance(given, (list, Mapping)) else [given])
    return Call(model.lowered, tuple(given), {}, names, model.output_names)


def _specs(signature: Any, dtype: torch.dtype) -> Any:
    """A signature with a `Spec` for each tensor, array, symbolic tensor and shape; of what is real, the batch is left open."""
    if isinstance(signature, Mapping):
        return {name: _specs(part, dtype) for name, part in signature.items()}
    if isinstance(signature, Sequence) and not isinstance(signature, str):
        if signature and all(part is None or isinstance(part, int) for part in signature):
            return Spec.of(signature, dtype)
        return [_specs(part, dtype) for part in signature]
    shape, kind = getattr(signature, "shape", None), getattr(signature, "dtype", None)
    if shape is None:
        raise TypeError(f"input_signature holds tensors, Input(...)s, or shapes such as (None, 3); got {signature!r:.80}.")
    is_real = hasattr(signature, "__array__") and not hasattr(signature, "node")
    kind = kind if isinstance(kind, torch.dtype) else config.dtype(None if kind is None else str(kind))
    return Spec.of((None, *shape[1:]) if is_real and len(shape) else shape, kind)


# ---------------------------------------------------------------------- how


def _program(call: Call, device: torch.device, options: Mapping[str, Any]) -> Any:
    batch = torch.export.Dim("batch")

    def example(spec: Spec) -> torch.Tensor:
        unknown = spec.shape[1:].count(None)
        size = _EXAMPLE_SIZE if unknown < 3 else _EXAMPLE_SIZE // 3
        sizes = [(size if axis else _EXAMPLE_BATCH) if dim is None else dim for axis, dim in enumerate(spec.shape)]
        return torch.zeros(sizes, dtype=spec.dtype, device=device)

    def free(spec: Spec) -> dict[int, Any]:
        return {axis: torch.export.Dim.DYNAMIC if axis else batch for axis, dim in enumerate(spec.shape) if dim is None}

    args, kwargs = tree_map_only(Spec, example, (call.args, call.kwargs))
    shapes = tree_map_only(Spec, free, {"args": call.args, **call.kwargs} if call.kwargs else call.args)
    with _Exportable():
        return torch.export.export(call.module, args, kwargs, dynamic_shapes=shapes, **options)


class _Exportable(TorchFunctionMode):
    """Replaces what torch cannot export for inputs of any size by what computes the same."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (F.max_pool1d, torch.max_pool1d):
            return _max_pool1d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _max_pool1d(
    inputs: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, **others: Any
) -> Any:
    def pair(value: Any, other: int) -> tuple[int, int]:
        return (value[0] if isinstance(value, (list, tuple)) else value), other

    strides = pair(stride if stride else kernel_size, 1)
    pooled = F.max_pool2d(inputs.unsqueeze(-1), pair(kernel_size, 1), strides, pair(padding, 0), pair(dilation, 1), ceil_mode)
    return pooled.squeeze(-1)


def _check_onnx(model: Any) -> None:
    """Raise `ImportError` that names the extra where it is not installed, and `ValueError` for a model too large for one file."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("Export to ONNX needs onnx and onnxscript: pip install 'torchkeras_fn[onnx]'.") from error
    tensors = {id(tensor): tensor for tensor in model._as_module().state_dict(keep_vars=True).values()}
    size = sum(tensor.nbytes for tensor in tensors.values() if isinstance(tensor, torch.Tensor))
    if size > _LARGEST_ONNX:
        raise ValueError(f"{_name_of(model)} has {size / 2**30:.1f} GiB of weights; an ONNX file holds 2. Export it with format='torch'.")


def _onnx_bytes(program: Any, call: Call, verbose: bool, options: Mapping[str, Any]) -> bytes:
    outputs = call.output_names
    if outputs is not None:
        taken = set(call.input_names or ())
        outputs = [f"{name}_output" if name in taken else name for name in outputs]
    found = torch.onnx.export(program, dynamo=True, verbose=verbose, input_names=call.input_names, output_names=outputs, **options)
    return found.model_proto.SerializeToString()  # type: ignore[union-attr, no-any-return]


# ---------------------------------------------------------------------- where to, and what went wrong


@contextmanager
def _target(filepath: Any) -> Iterator[Any]:
    """A file to write: in place of the path in one step, or whole to a file object. A bad path is told at once."""
    if not hasattr(filepath, "write"):
        with replacing(filepath) as file:
            yield file
        return
    whole = io.BytesIO()
    yield whole
    filepath.write(whole.getvalue())


@contextmanager
def _naming(model: Any, format: str) -> Iterator[None]:
    """Let what torch says begin with the model, and with the layer where torch names one."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = re.sub(r"\x1b\[\d*m", "", str(cause)).strip()
        executed = re.findall(r"While executing %(\w+)", f"{error} {said}")
        where = f", at {executed[-1]!r}" if executed else ""
        raise RuntimeError(
            f"{_name_of(model)} cannot be exported to {format!r}{where}. torch says: {type(cause).__name__}: {said[:1500]}\n"
            "Python code that looks at values or at unknown sizes cannot be part of a program: use torch.where and torch.cond, "
            "or fix the sizes with input_signature, as in [(None, 10, 3)]."
        ) from error


def _name_of(model: Any) -> str:
    return str(getattr(model, "name", None) or type(model).__name__)
