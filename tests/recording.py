"""CUDA graphs that are not there: what runs inside `torch.cuda.graph` is noted, and `replay` does it again in the same memory.

As on a GPU, a recording changes nothing (what its operations changed is put back), and a replay writes its results over
those of the one before. What draws from torch's global generator moves it at the recording, as a GPU would not.
"""

from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recorded:
    """Stands in for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.operations: list[Any] = []
        self.replays = 0

    def replay(self) -> None:
        """Do again what was recorded."""
        self.replays += 1
        for function, args, kwargs, results in self.operations:
            for result, value in zip(results, _tensors(function(*args, **kwargs)), strict=True):
                if result.data_ptr() != value.data_ptr():
                    result.copy_(value)


class _Noting(TorchDispatchMode):
    def __init__(self, recorded: Recorded):
        super().__init__()
        self.recorded = recorded
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = {**dict(zip((argument.name for argument in function._schema.arguments), args, strict=False)), **kwargs}
        for argument in function._schema.arguments:
            for tensor in _tensors(given.get(argument.name)) if argument.is_write else ():
                self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        result = function(*args, **kwargs)
        self.recorded.operations.append((function, args, kwargs, _tensors(result)))
        return result


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class Recorder:
    """Puts stand-ins in place of torch's recording; `where` lists the device and the stream of each recording, `made` what was recorded."""

    def __init__(self, monkeypatch: Any):
        self.where: list[tuple[str, str]] = []
        self.made: list[Recorded] = []
        self._now = "the first"
        self.stream = "the first stream"
        """The stream on which the program works now."""
        self.is_broken_off = False
        """Whether the last recording failed: until one succeeds, torch refuses to draw random numbers on the device."""
        for name in ("CUDAGraph", "Stream", "current_stream", "device", "graph", "stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, f"_{name}"))

    def _CUDAGraph(self) -> Recorded:
        self.made.append(Recorded())
        return self.made[-1]

    def _Stream(self, device: Any) -> str:
        return f"a stream on {device}"

    def _current_stream(self, device: Any) -> str:
        return self.stream

    @contextmanager
    def _stream(self, stream: str) -> Any:
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def _device(self, device: Any) -> Any:
        before, self._now = self._now, str(device)
        try:
            yield
        finally:
            self._now = before

    @contextmanager
    def _graph(self, recorded: Recorded, stream: str, capture_error_mode: str) -> Any:
        self.where.append((self._now, stream))
        before, self.stream, self.is_broken_off = self.stream, stream, True
        with _Noting(recorded) as noting:
            yield
        self.stream, self.is_broken_off = before, False  # as torch does it: an error of the recording comes first
        for tensor, values in reversed(noting.before.values()):
            tensor.copy_(values)
