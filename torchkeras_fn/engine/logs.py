"""`Logs`: names and figures as callbacks read them, and the older and newer words for some of the names."""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch


class Logs(MutableMapping[str, Any]):
    """Names and figures that become Python floats when they are read, and cost nothing when they are not.

    `acc` and `accuracy` are one name, and so are `lr` and `learning_rate`.

    >>> Logs({"accuracy": torch.tensor(0.5)})["acc"]
    0.5
    """

    def __init__(self, figures: Mapping[str, Any]):
        self.figures = dict(figures)

    def __getitem__(self, name: str) -> Any:
        return to_number(self.figures[known_name(name, self.figures)])

    def __setitem__(self, name: str, figure: Any) -> None:
        self.figures[name] = figure

    def __delitem__(self, name: str) -> None:
        del self.figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and known_name(name, self.figures) in self.figures

    def __repr__(self) -> str:
        return repr(dict(self))


_OTHER_NAMES = {"acc": "accuracy", "accuracy": "acc", "lr": "learning_rate", "learning_rate": "lr"}


def known_name(name: str, known: Any) -> str:
    """Return the name under which a figure stands in `known`: its own, or the older or newer word for it.

    >>> known_name("val_acc", {"val_accuracy": 1})
    'val_accuracy'
    """
    if name in known:
        return name
    for word, other in _OTHER_NAMES.items():
        if name == word or name.endswith(f"_{word}"):
            candidate = name.removesuffix(word) + other
            if candidate in known:
                return candidate
    return name


def to_number(figure: Any) -> Any:
    """Return a scalar tensor as a Python float; a tensor without data, on the `meta` device, as NaN."""
    if not isinstance(figure, torch.Tensor):
        return figure
    return float("nan") if figure.is_meta else float(figure)
