"""What comes out of a function, told by running it on tensors that hold no data.

The first try, in `empty_batch.py`, runs the real code on CPU tensors whose batch dimension is 0: no storage, no arithmetic, a few
microseconds. Where an empty batch cannot answer (a size that depends on the batch, a view with `-1`), the code runs on `meta`
tensors of two sizes, in `storage_free.py`; a dimension that differs between the two is unknown and reads `None`. Where these
cannot answer either, as what comes out depends on the data, it runs on small tensors of made-up numbers, in `dummy_data.py`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from torchkeras_fn.engine.drawing.dummy_data import on_data
from torchkeras_fn.engine.drawing.empty_batch import on_empty_batch
from torchkeras_fn.engine.drawing.inferring import alone, now, untouched_random_state
from torchkeras_fn.engine.drawing.storage_free import on_meta

_NO_DATA = ("meta", "unallocated storage")
"""How torch says that a tensor has no data."""


class InferenceError(ValueError):
    """A function refused the shapes it was given.

    >>> from torchkeras_fn.engine.drawing.spec import Spec
    >>> infer(torch.matmul, (Spec.of((None, 3), torch.float32), Spec.of((4, 5), torch.float32)), {})
    Traceback (most recent call last):
        ...
    torchkeras_fn.engine.drawing.inference.InferenceError: mat1 and mat2 shapes cannot be multiplied (0x3 and 4x5)
    """


def infer(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None = None) -> Any:
    """Return the structure of `function(*args, **kwargs)` with a `Spec` for each tensor; arguments hold `Spec`s for tensors.

    Nothing is computed but where the shape depends on the data, no random number is drawn and no gradient recorded. `device` is
    where the function's weights are. Raises `InferenceError` with torch's own words where the function does not take such arguments.

    >>> from torchkeras_fn.engine.drawing.spec import Spec
    >>> infer(torch.matmul, (Spec.of((None, 3), torch.float32), Spec.of((3, 5), torch.float32)), {}).shape
    (None, 5)
    """
    with alone(), torch.no_grad(), untouched_random_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of means over nothing
        outer, now.inferring = now.inferring, True
        try:
            return on_empty_batch(function, args, kwargs, device)
        except Exception as first:
            try:
                return on_meta(function, args, kwargs)
            except Exception as second:
                cause = first if type(first) is type(second) else second  # which may be about the emptiness of the batch alone
                if any(words in str(second).lower() for words in _NO_DATA):
                    try:
                        return on_data(function, args, kwargs, device)
                    except Exception as third:
                        cause = third
                raise InferenceError(str(cause) or type(cause).__name__) from cause
        finally:
            now.inferring = outer
