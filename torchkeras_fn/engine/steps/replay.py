"""`compiled`: a graph as one function of torch's compiler; on CUDA it is recorded once, and replayed from then on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

Run = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]

_OPTIONS = {"fallback_random": True, "size_asserts": False, "alignment_asserts": False}
"""Random numbers are those that the graph draws when it is not compiled. Who calls checks shapes; not so the function."""

_CALLS_BEFORE_RECORDING = 2
"""What libraries make ready at their first call (workspaces, plans) is no part of a recording."""


def compiled(graph: GraphModule, inputs: Sequence[torch.Tensor], changing: int) -> Run:
    """Return a function of a list of tensors like `inputs`, of which the first `changing` are others at each call.

    The others are the same tensors at each call, and may be changed in place. What is returned on CUDA is overwritten by
    the next call. Raises what torch's compiler raises, and `RuntimeError` for tensors that share memory.
    """
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx, compile_fx_inner

    options = {name: value for name, value in _OPTIONS.items() if hasattr(config, name)}  # older compilers know fewer
    made: list[Any] = []
    may_be_recorded = all(tensor.is_cuda for tensor in inputs) and is_on_one_device(graph)

    def compile_inner(module: GraphModule, examples: Sequence[Any], **options: Any) -> Any:
        if len(examples) != len(inputs):
            raise RuntimeError("tensors that a step changes share memory with others")
        made.append(compile_fx_inner(module, examples, **options))
        return made[-1]

    with torch.no_grad():
        compile_fx(graph, list(inputs), inner_compile=compile_inner, config_patches=options)
    run: Run = made[-1]  # past the wrapper for gradients, of which there are none: it costs as much as a small kernel
    return Replay(run, changing) if may_be_recorded else run


def is_on_one_device(graph: GraphModule) -> bool:
    """Return whether none of the tensors that a graph makes lies elsewhere than others. A recording holds only what a GPU does.

    What the CPU makes beside it would be done once: random numbers drawn there would be the same at each replay.

    >>> from torch.fx.experimental.proxy_tensor import make_fx
    >>> x = torch.ones(2)
    >>> is_on_one_device(make_fx(lambda x: x + x.sum())(x)), is_on_one_device(make_fx(lambda x: x.to("meta"))(x))
    (True, False)
    """
    made = tree_leaves([node.meta.get("val") for node in graph.graph.nodes])
    return len({value.device for value in made if isinstance(value, torch.Tensor)}) <= 1


class Replay:
    """A function of CUDA tensors as a CUDA graph: the first `changing` inputs are copied into those that were recorded.

    Where it cannot be recorded it runs as it is.
    """

    def __init__(self, run: Run, changing: int):
        self._run, self._changing = run, changing
        self._calls = 0
        self._graph: Any = None
        self._buffers: list[torch.Tensor] = []
        self._outputs: Sequence[torch.Tensor] = ()

    def __call__(self, inputs: list[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Return what the function returns."""
        if self._calls <= _CALLS_BEFORE_RECORDING:
            self._calls += 1
            if self._calls > _CALLS_BEFORE_RECORDING:
                self._record(inputs)
        if self._graph is None:
            return self._run(inputs)
        for buffer, tensor in zip(self._buffers, inputs, strict=False):
            buffer.copy_(tensor, non_blocking=True)
        self._graph.replay()
        return self._outputs

    def _record(self, inputs: list[torch.Tensor]) -> None:
        graph, device = torch.cuda.CUDAGraph(), inputs[0].device
        buffers = [tensor.clone() for tensor in inputs[: self._changing]]
        try:
            with _recording(graph, device):
                outputs = self._run([*buffers, *inputs[self._changing :]])
        except RuntimeError:  # an operation that waits for the device, or copies from the host
            # Random numbers would be refused from now on: torch takes the device to be recording until a recording succeeds.
            with suppress(RuntimeError), _recording(torch.cuda.CUDAGraph(), device):
                torch.zeros(1, device=device)
            return
        self._graph, self._buffers, self._outputs = graph, buffers, outputs


@contextmanager
def _recording(graph: Any, device: torch.device) -> Iterator[None]:
    """Record in a CUDA graph what a device does within the block."""
    stream = torch.cuda.Stream(device)  # torch's own for recordings is where the first of all was made: perhaps another GPU
    with (
        torch.cuda.device(device),
        torch.cuda.stream(torch.cuda.current_stream(device)),  # to which torch does not go back after a failure
        torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),  # other threads may be pinning the next batches
    ):
        yield
