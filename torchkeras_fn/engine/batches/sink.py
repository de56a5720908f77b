"""Where predictions go: one array in the CPU's memory, filled batch by batch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from torchkeras_fn.engine.basics.structure import Structure
from torchkeras_fn.engine.batches.dealing import in_turn
from torchkeras_fn.engine.batches.groups import samples_of
from torchkeras_fn.engine.batches.lockstep import Lockstep
from torchkeras_fn.engine.device import sent, to_host
from torchkeras_fn.engine.outputs.returned import is_record, keys_of, parts_of, record_like

_Arriving = tuple[list[Callable[[], torch.Tensor]], int]
"""Functions that wait for the outputs of a batch to arrive from the device, and its number of samples."""


class Sink:
    """Takes the outputs of each batch into arrays as long as all samples; where their number is not known, joins them at the end.

    >>> sink = Sink(2)
    >>> sink.take(0, (torch.zeros(2, 1), None, None), torch.ones(2, 3))
    >>> sink.result().shape
    (2, 3)
    """

    def __init__(self, samples: int | None):
        self._samples = samples
        self._filled = 0
        self._arrays: list[torch.Tensor] = []
        self._pieces: list[list[torch.Tensor]] = []
        self._names: list[Any] | None = None
        self._structure: Structure | None = None
        self._kind: Any = None
        """The type of outputs in a named tuple, or a dataclass of outputs."""
        self._several = False
        self._absent: list[int] = []
        """The positions at which there is `None`, as for what a model gives in training alone."""
        self._arriving: _Arriving | None = None

    def take(self, index: int, batch: Any, outputs: Any) -> None:
        """Take the outputs of a batch behind those that came before. Raises `TypeError` for outputs that are no tensors."""
        self._kind = _kind_of(outputs)
        if is_record(outputs):
            outputs = dict(zip(keys_of(outputs) or (), parts_of(outputs), strict=True))
        if isinstance(outputs, Mapping):
            self._names, outputs = list(outputs), list(outputs.values())
        self._several = isinstance(outputs, (list, tuple))
        outputs = outputs if self._several else [outputs]
        if not all(isinstance(value, torch.Tensor) for value in outputs):
            outputs = self._flat(outputs)
            self._absent = [index for index, value in enumerate(outputs) if value is None]
            outputs = [value for value in outputs if value is not None] or outputs
        if not self._arrays and not self._pieces:
            _check_tensors(outputs)
        samples = 0 if self._arrays else samples_of(batch)
        if all([value.is_cpu for value in outputs]):
            self._keep([to_host(value) for value in outputs], samples)
            return
        self._await(([sent(value) for value in outputs], samples))

    def _await(self, arriving: _Arriving | None) -> None:
        """Keep the outputs that are on their way, while the device works on those that come after them."""
        before, self._arriving = self._arriving, arriving
        if before is not None:
            values, samples = before
            self._keep([value() for value in values], samples)

    def _await_last(self) -> None:
        with torch.inference_mode():  # in which the arrays were made
            self._await(None)

    def _keep(self, values: list[torch.Tensor], samples: int) -> None:
        """Keep outputs that are in the CPU's memory."""
        if not self._arrays and (self._samples is None or self._pieces or not _have_rows(values, samples)):
            # copied: an output may be a view of the batch, or lie in a buffer that is filled anew, or be a part of something large
            self._pieces.append([value.clone().reshape(1) if value.ndim == 0 else value.clone() for value in values])
            return
        if not self._arrays:
            rows = int(self._samples or 0)
            self._arrays = [torch.empty((rows, *value.shape[1:]), dtype=value.dtype, device="cpu") for value in values]
        for array, value in zip(self._arrays, values, strict=True):
            array[self._filled : self._filled + value.shape[0]] = value
        self._filled += values[0].shape[0]

    def _flat(self, outputs: Any) -> list[Any]:
        """The tensors in outputs that are nested, as those of the first batch were."""
        if self._structure is None:
            self._structure, found = Structure.split(outputs)
            return found
        return self._structure.flat(outputs)

    def result(self) -> Any:
        """Return the arrays as numpy, in the structure of the outputs. Raises `ValueError` where no batch came."""
        if self._arriving is not None:
            self._await_last()
        if self._pieces:
            self._arrays = [torch.cat(pieces) for pieces in zip(*self._pieces, strict=True)]
        elif not self._arrays:
            raise ValueError("There is nothing to return: the data gave no batch.")
        elif self._filled < int(self._samples or 0):
            self._arrays = [array[: self._filled] for array in self._arrays]
        arrays: list[np.ndarray | None] = [array.numpy() for array in self._arrays]
        for index in self._absent:
            arrays.insert(index, None)
        parts = arrays if self._structure is None else self._structure.pack(arrays)
        if self._names is not None:
            named = dict(zip(self._names, parts, strict=True))
            return named if self._kind is None else record_like(self._kind, named)
        if self._kind is not None:
            return self._kind(*parts)
        return parts if self._several else parts[0]


class SharedSink(Sink):
    """Takes this process's part of the outputs; the result is that of all processes, in the order of the data."""

    def __init__(self, shared: Lockstep):
        super().__init__(None)
        self._shared = shared

    def take(self, index: int, batch: Any, outputs: Any) -> None:
        """Take the outputs of a batch behind those that came before, unless all its rows are another's."""
        if self._shared.portion is None or self._shared.portion.rows:
            super().take(index, batch, outputs)
        else:
            self._kind = _kind_of(outputs)

    def result(self) -> Any:
        """Return the outputs of all processes; a collective."""
        processes = self._shared.processes
        if self._arriving is not None:
            self._await_last()
        own = [[(tuple(value.shape), value.dtype) for value in piece] for piece in self._pieces]
        told = processes.gathered((own, (self._names, self._structure), self._several))
        first = next((state for state in told if state[0]), None)
        if first is not None:
            (kinds, *_), (self._names, self._structure), self._several = first
            columns = [self._column(index, [pieces for pieces, _, _ in told]) for index in range(len(kinds))]
            self._pieces = [list(columns)]
        return super().result()

    def _column(self, index: int, told: list[Any]) -> torch.Tensor:
        """One of the outputs, whole: each process hands out its part of it."""
        parts = []
        for rank, pieces in enumerate(told):
            rows = [shape[0] for shape, _ in (piece[index] for piece in pieces)]
            if pieces:
                shape, dtype = pieces[0][index]
                is_own = rank == self._shared.processes.rank
                empty = torch.empty(0 if is_own else sum(rows), *shape[1:], dtype=dtype, device="cpu")
                values = torch.cat([piece[index] for piece in self._pieces]) if is_own else empty
                parts.append(self._shared.processes.from_rank(rank, values.contiguous()).split(rows))
        return torch.cat(list(in_turn(parts)))


def _kind_of(outputs: Any) -> Any:
    return outputs if is_record(outputs) else type(outputs) if hasattr(outputs, "_fields") else None


def _check_tensors(outputs: Any) -> None:
    strange = [type(value).__name__ for value in outputs if not isinstance(value, torch.Tensor)]
    if strange or not outputs:
        came = f"something of type {strange[0]}" if strange else "no outputs at all"
        raise TypeError(f"A prediction is a tensor, or a list or dict of tensors, which may be nested, but the model returned {came}.")


def _have_rows(values: list[torch.Tensor], samples: int) -> bool:
    """Whether every output has a row for each sample."""
    return [value.shape[:1] for value in values] == [(samples,)] * len(values)
