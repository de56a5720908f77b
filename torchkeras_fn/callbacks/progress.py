"""The progress bar, and the one line an epoch."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm.auto import tqdm

_REDRAW_SECONDS = 0.1


class Progress:
    """Shows how far an epoch is: `verbose=1` a bar, redrawn at most ten times a second; 2 one line; 0 nothing.

    Figures are read from the device only when the bar is drawn.

    >>> Progress(0).active
    False
    """

    def __init__(self, verbose: Any):
        if verbose not in (0, 1, 2, "auto"):
            raise ValueError(f"'verbose' must be 0, 1, 2 or 'auto', got {verbose!r}.")
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self._bar: Any = None

    @property
    def active(self) -> bool:
        """Whether every batch is of interest."""
        return self.verbose == 1

    def begin(self, title: str, steps: int | None) -> None:
        """Begin an epoch of so many steps (`None`: not known)."""
        self._title, self._steps, self._begun = title, steps, time.perf_counter()
        self._done = self._drawn = 0
        self._due = self._begun + _REDRAW_SECONDS
        if self.verbose == 1:
            self._bar = tqdm(total=steps, desc=title, leave=True, file=sys.stderr, mininterval=0, unit="step")

    def step(self, read: Callable[[], Mapping[str, Any]]) -> None:
        """Note that a batch is done; `read` returns its figures, and is called only when the bar is drawn."""
        self._done += 1
        if time.perf_counter() >= self._due:
            self._draw(read())
            self._due = time.perf_counter() + _REDRAW_SECONDS

    def end(self, logs: Mapping[str, Any]) -> None:
        """End the epoch, and show its figures."""
        if self.verbose == 1:
            self._draw(logs)
            self._bar.close()
            self._bar = None
        elif self.verbose == 2:
            seconds = time.perf_counter() - self._begun
            shown = " - ".join(f"{name}: {_short(value)}" for name, value in logs.items())
            print(f"{self._title} - {seconds:.1f}s - {shown}")

    def abandon(self) -> None:
        """Close the bar of an epoch that was broken off."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, logs: Mapping[str, Any]) -> None:
        self._bar.set_postfix({name: _short(value) for name, value in logs.items()}, refresh=False)
        self._bar.update(self._done - self._drawn)
        self._bar.refresh()
        self._drawn = self._done


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"
