"""The state of a training that several processes share: how one file is made of it, and how all of them take it up again."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from torchkeras_fn.engine.processes.processes import Processes
from torchkeras_fn.saving.trees import decode, encode

OWN = ("random", "devices", "positions", "objective", "result", "gradients", "buffers", "modules")
"""What of the state is each process's own. All else is alike in all of them."""


def put_together(state: Mapping[str, Any], team: Processes, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return in the first process its state with what is each one's own, by rank; in the others what need not be kept. A collective.

    What is named in `without` is taken from the first alone.
    """
    own = {name: state[name] for name in OWN if name not in without}
    told = team.at_first(tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu(), own))
    return {**{name: value for name, value in state.items() if name not in own}, "processes": told}


def count_of(state: Mapping[str, Any]) -> int:
    """Return how many processes a state is of.

    >>> count_of({"epoch": 1}), count_of({"epoch": 1, "processes": [{}, {}]})
    (1, 2)
    """
    return len(state.get("processes", (None,)))


def taken_apart(state: Mapping[str, Any], rank: int, count: int) -> dict[str, Any]:
    """Return the state of one of `count` processes. Where more or fewer made it, those from the first on serve in turn.

    Raises `ValueError` where they were in the middle of an epoch, or of a pass over the data: each had its own place there.

    >>> taken_apart({"epoch": 1, "batch": 0, "processes": [{"random": 1, "positions": {}}]}, 1, 2)
    {'epoch': 1, 'batch': 0, 'random': 1, 'positions': {}}
    """
    made_by = count_of(state)
    own = state.get("processes", [state])[rank % made_by]
    if made_by != count and (state["batch"] or own["positions"].get("training data", {}).get("start") is not None):
        raise ValueError(
            f"The backup was made by {made_by} processes in the middle of epoch {state['epoch'] + 1} or of a pass over the data, and there "
            f"are {count} now. Start {made_by} to go on; a backup at the end of an epoch can be taken up by any number of them."
        )
    return {**{name: value for name, value in state.items() if name != "processes"}, **own}


def from_first(state: Any, team: Processes) -> Any:
    """Return the state that the first process gave, tensor by tensor, so that no other has to see its files. A collective."""
    tensors: dict[str, torch.Tensor] = {}
    text = encode(state, tensors) if team.is_first else None
    text, kinds = team.from_first((text, {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}))
    for name, (shape, dtype) in kinds.items():
        whole = tensors[name].cpu().contiguous() if team.is_first else torch.empty(shape, dtype=dtype)
        team.from_rank(0, whole.reshape(-1))
        tensors[name] = whole
    return state if team.is_first else decode(text, tensors)
