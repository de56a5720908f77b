"""`History`: what `fit` returns."""

from collections.abc import Mapping
from typing import Any

from torchkeras_fn.callbacks.callback import Callback
from torchkeras_fn.engine.basics.logs import known_name


class Figures(dict[str, list[Any]]):
    """A dict of the figures of all epochs that also answers to `acc` for `accuracy`, and the like.

    >>> Figures(val_accuracy=[0.5])["val_acc"]
    [0.5]
    """

    def __missing__(self, name: str) -> list[Any]:
        known = known_name(name, self.keys())
        if known not in self.keys():
            raise KeyError(name)
        return self[known]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and known_name(name, self.keys()) in self.keys())

    def get(self, name: str, default: Any = None) -> Any:
        """Return the figures of that name, or `default`."""
        try:
            return self[name]
        except KeyError:
            return default


class History(Callback):
    """Keeps the figures of every epoch: `history['loss']` is a list with one number each, `epoch` their indices.

    >>> history = History()
    >>> history.on_train_begin()
    >>> history.on_epoch_end(0, {"loss": 0.5})
    >>> history.history, history.epoch
    ({'loss': [0.5]}, [0])
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = Figures()
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew."""
        self.history, self.epoch = Figures(), []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the figures of an epoch."""
        self.epoch.append(epoch)
        for name in logs or {}:
            self.history.setdefault(name, []).append(logs[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the figures of all epochs so far."""
        return {"history": {name: list(figures) for name, figures in self.history.items()}, "epoch": list(self.epoch)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after these epochs."""
        self.history = Figures({name: list(figures) for name, figures in state["history"].items()})
        self.epoch = list(state["epoch"])
