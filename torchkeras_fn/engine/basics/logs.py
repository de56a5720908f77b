"""`Logs`: names and figures as callbacks read them, and the older and newer words for some of the names."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import torch


class Logs(dict[str, Any]):
    """A dict of names and figures that become Python floats when they are read, and cost nothing when they are not.

    `acc` and `accuracy` are one name, and so are `lr` and `learning_rate`.

    >>> Logs({"accuracy": torch.tensor(0.5)})["acc"]
    0.5
    """

    @property
    def figures(self) -> dict[str, Any]:
        """The figures as they came, tensors on the device among them."""
        return dict(super().items())

    def __getitem__(self, name: str) -> Any:
        figure = super().__getitem__(name if dict.__contains__(self, name) else self._known(name))
        return figure if type(figure) is float else to_number(figure)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(self._known(name))

    def __iter__(self) -> Iterator[str]:  # without one of its own, dict(logs) would take the figures as they came
        return super().__iter__()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(self._known(name))

    def __repr__(self) -> str:
        return repr(dict(self))

    def __eq__(self, other: object) -> bool:
        return dict(self) == (dict(other) if isinstance(other, dict) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def copy(self) -> dict[str, Any]:
        """Return the figures, read."""
        return dict(self)

    # The methods of dict would pass by what is above.
    keys, values, items = MutableMapping.keys, MutableMapping.values, MutableMapping.items  # type: ignore[assignment]
    get, pop, setdefault = MutableMapping.get, MutableMapping.pop, MutableMapping.setdefault  # type: ignore[assignment]
    popitem = MutableMapping.popitem  # type: ignore[assignment]

    def _known(self, name: str) -> str:
        return known_name(name, dict.keys(self))


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
    """Return a scalar tensor as a Python float, several figures as an array; a tensor without data, on the `meta` device, as NaN."""
    if not isinstance(figure, torch.Tensor):
        return figure
    if figure.is_meta:
        return float("nan")
    return float(figure.detach()) if figure.numel() == 1 else figure.detach().cpu().numpy().copy()
