"""A model as a program that runs without this library: an exported program of torch, or an ONNX file."""

import inspect
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import MappingKey, tree_flatten_with_path, tree_map_only, tree_unflatten

from torchkeras_fn import config
from torchkeras_fn.engine.basics.modes import mode_of
from torchkeras_fn.engine.drawing.spec import Spec
from torchkeras_fn.engine.layer_parts.additions import collecting
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.saving.atomic import replacing

_OPTIONS = {
    "torch": {"strict", "prefer_deferred_runtime_asserts_over_guards", "preserve_module_call_signature"},
    "onnx": {"opset_version", "optimize", "custom_translation_table"},
}
_EXAMPLE_BATCH = 6
_EXAMPLE_SIZE = 192  # of an unknown dimension: long enough for a stack of windows, and often divided by 2
_LARGEST_ONNX = 2**31 - 2**20  # bytes: a file in one piece holds less than 2 GiB


class Call(NamedTuple):
    """What is exported: a module, a `Spec` for every tensor that it is called with, the inputs' names, and the outputs' if known.

    >>> Call._fields
    ('module', 'args', 'kwargs', 'input_names', 'output_names')
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    input_names: list[str]
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
    with _target(filepath) as file, mode_of(call.module, training=False), torch.no_grad(), collecting():
        with _naming(model, format):
            program = _program(call, model._signature().device, options if format == "torch" else {})
        if format == "onnx":
            _check_states(model, program)
        with _naming(model, format):
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
    given = None if input_signature is None else _specs(input_signature)
    if isinstance(model, Drawn) and model.uses_graph():
        return _drawn_call(model, given)
    is_wrapper = isinstance(model, Drawn) and model.module is not None and type(model).call is Drawn.call
    module = model.module if is_wrapper else model._as_module()
    if given is None and getattr(model, "called_with", None) is not None:
        args, kwargs = model.called_with
    else:
        if given is None and getattr(model, "built_for", None) is not None:
            given = _specs(model.built_for)
        if given is None:
            raise ValueError(f"Nobody said what {name} takes. Pass input_signature: tensors, Input(...)s or shapes such as [(None, 3)].")
        args, kwargs = tree_map_only(Spec, lambda spec: _of_type(spec, model._signature().float_dtype), _arguments(model, given))
    bound = inspect.signature(model._forward_function()).bind(*args, **kwargs).arguments
    ordered = {name: kwargs[name] for name in bound if name in kwargs}
    return Call(module, args, {**ordered, **kwargs}, _names_in(dict(bound)))


def _arguments(model: Any, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a model with its own `forward` is called with, as in `predict`: a list as several arguments where it takes them."""
    if isinstance(given, Mapping) and model._forward_takes(given):
        return (), dict(given)
    several = isinstance(given, list) and (len(given) == 1 or model._forward_takes(given))
    return (tuple(given) if several else (given,)), {}


def _names_in(tree: Any) -> list[str]:
    """A name for each leaf: its key, with the places in lists behind it. A leaf without a key is an output."""
    names = []
    for path, _ in tree_flatten_with_path(tree)[0]:
        places = [key.key if isinstance(key, MappingKey) else key.idx for key in path]  # type: ignore[attr-defined]
        start = max((place for place, key in enumerate(path) if isinstance(key, MappingKey)), default=None)
        parts = places[start:] if start is not None else ["output", *(places[:-1]), (places or [0])[-1] + 1]
        names.append("_".join(map(str, parts)))
    return names


def _drawn_call(model: Drawn, given: Any) -> Call:
    signature = model._signature()  # type: ignore[attr-defined]
    given = _specs(signature.input_shapes) if given is None else given
    given = model._ordered(model._drawn(), given if isinstance(given, (list, Mapping)) else [given])
    args = tuple(_of_type(spec, dtype) for spec, dtype in zip(given, signature.input_dtypes, strict=True))
    return Call(model.lowered, args, {}, signature.input_names, signature.output_names)


def _specs(signature: Any) -> Any:
    """A signature with a `Spec` for each tensor, array, symbolic tensor and shape. Of what is real, the batch is left open."""
    if isinstance(signature, Mapping):
        return {name: _specs(part) for name, part in signature.items()}
    if isinstance(signature, Sequence) and not isinstance(signature, str):
        if signature and all(part is None or isinstance(part, int) for part in signature):
            return Spec.of(signature, None)  # type: ignore[arg-type]
        return [_specs(part) for part in signature]
    shape, kind = getattr(signature, "shape", None), getattr(signature, "dtype", None)
    if shape is None:
        raise TypeError(f"input_signature holds tensors, Input(...)s, or shapes such as (None, 3); got {signature!r:.80}.")
    is_real = isinstance(signature, (torch.Tensor, np.ndarray))
    kind = kind if isinstance(kind, torch.dtype) else config.dtype(str(kind))
    return Spec.of((None, *shape[1:]) if is_real and len(shape) else shape, kind)


def _of_type(spec: Spec, dtype: torch.dtype) -> Spec:
    """The spec, of the given type where it is a shape alone."""
    return spec if spec.dtype is not None else replace(spec, dtype=dtype)


# ---------------------------------------------------------------------- how


def _program(call: Call, device: torch.device, options: Mapping[str, Any]) -> Any:
    batch, sizes = torch.export.Dim("batch"), torch.export.ShapesCollection()
    described: Any = sizes  # torch takes it, though its annotations do not say so

    def example(spec: Spec) -> torch.Tensor:
        unknown = spec.shape[1:].count(None)
        size = _EXAMPLE_SIZE if unknown < 3 else _EXAMPLE_SIZE // 3
        shape = [(size if axis else _EXAMPLE_BATCH) if dim is None else dim for axis, dim in enumerate(spec.shape)]
        tensor = torch.zeros(shape, dtype=spec.dtype, device=device)
        sizes[tensor] = {axis: torch.export.Dim.DYNAMIC if axis else batch for axis, dim in enumerate(spec.shape) if dim is None}
        return tensor

    args, kwargs = tree_map_only(Spec, example, (call.args, call.kwargs))
    with _Exportable():  # "strict": as later versions of torch have it by themselves
        return torch.export.export(call.module, args, kwargs, dynamic_shapes=described, **{"strict": False, **options})


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


def _check_states(model: Any, program: Any) -> None:
    """Raise `ValueError` for a program that writes to its buffers, which ONNX would keep as they are."""
    buffers: Mapping[str, str] = program.graph_signature.inputs_to_buffers
    for node in program.graph.nodes:
        is_writing = getattr(getattr(node.target, "_schema", None), "is_mutable", False)
        changed = buffers.get(getattr(node.args[0], "name", "")) if is_writing else None
        if changed is not None:
            raise ValueError(
                f"{_name_of(model)}: {changed!r} goes from batch to batch, as the states of a layer with stateful=True, and ONNX "
                "keeps none. Export the model with format='torch'."
            )


def _onnx_bytes(program: Any, call: Call, verbose: bool, options: Mapping[str, Any]) -> bytes:
    structure = program.call_spec.out_spec
    outputs = call.output_names or _names_in(tree_unflatten(list(range(structure.num_leaves)), structure))
    outputs = [f"{name}_output" if name in call.input_names else name for name in outputs]
    names: dict[str, Any] = {"input_names": call.input_names, "output_names": outputs, "dynamic_shapes": _axis_names(program)}
    found: Any = torch.onnx.export(program, dynamo=True, verbose=verbose, **names, **options)
    return found.model_proto.SerializeToString()  # type: ignore[no-any-return]


def _axis_names(program: Any) -> list[dict[int, str]]:
    """For each input the names of its open axes that have none yet: `batch`, and `x_1` for the next axis of `x`."""
    known: set[str] = set()
    names: list[dict[int, str]] = []
    inputs = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    for name in program.graph_signature.user_inputs:
        symbols = {axis: str(size) for axis, size in enumerate(inputs[name].shape) if not isinstance(size, int)}
        names.append({axis: f"{name}_{axis}" if axis else "batch" for axis, symbol in symbols.items() if symbol not in known})
        known.update(symbols.values())
    return names


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
        executed = re.findall(r"While executing %(\w+)", f"{error} {cause}")
        said = re.sub(r"\x1b\[\d*m", "", str(cause)).split("While executing")[0].strip()
        where = f", at {executed[-1]!r}" if executed else ""
        raise RuntimeError(
            f"{_name_of(model)} cannot be exported to {format!r}{where}. torch says: {type(cause).__name__}: {said[:1500]}\n"
            "Python code that looks at values or at unknown sizes cannot be part of a program: use torch.where and torch.cond, "
            "or fix the sizes with input_signature, as in [(None, 10, 3)]."
        ) from error


def _name_of(model: Any) -> str:
    return str(getattr(model, "name", None) or type(model).__name__)
