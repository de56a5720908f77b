"""A progress bar for a loop of one's own."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tqdm.auto import tqdm


class Progbar:
    """Shows how far a loop of one's own is, and the means of its figures so far: `verbose=1` a bar, 2 one line at the end, 0 nothing.

    `target` steps are expected (`None`: not known), and the bar is redrawn at most every `interval` seconds. The figures named in
    `stateful_metrics` are shown as they are given, the others as the mean over the steps. `width` is that of the bar, in signs.

    >>> bar = Progbar(2, verbose=0)
    >>> bar.update(1, values=[("loss", 4.0)])
    >>> bar.add(1, values=[("loss", 2.0)])
    >>> bar.means
    {'loss': 3.0}
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ):
        if verbose not in (0, 1, 2):
            raise ValueError(f"'verbose' must be 0, 1 or 2, got {verbose!r}.")
        self.target, self.verbose = target, verbose
        self.width, self.interval, self.unit_name = width, interval, unit_name
        self.stateful_metrics = set(stateful_metrics or ())
        self.seen_so_far = 0
        self._sums: dict[str, tuple[float, float]] = {}
        self._bar: Any = None

    @property
    def means(self) -> dict[str, float]:
        """The figures as they are shown."""
        return {name: total / max(steps, 1) for name, (total, steps) in self._sums.items()}

    def update(self, current: int, values: Sequence[tuple[str, Any]] | None = None, finalize: bool | None = None) -> None:
        """Note that `current` steps are done, and the `(name, value)` pairs of those since the last call.

        The bar ends with the step `target`, or with `finalize`.
        """
        steps = current - self.seen_so_far
        for name, value in values or ():
            value = float(value)
            total, count = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (value, 1.0) if name in self.stateful_metrics else (total + value * steps, count + steps)
        self.seen_so_far = current
        if self.verbose:
            self._show(current >= self.target if finalize is None and self.target is not None else bool(finalize))

    def add(self, n: int, values: Sequence[tuple[str, Any]] | None = None) -> None:
        """Note that `n` more steps are done."""
        self.update(self.seen_so_far + n, values)

    def _show(self, is_last: bool) -> None:
        figures = {name: f"{mean:.4f}" if abs(mean) > 1e-3 or not mean else f"{mean:.4e}" for name, mean in self.means.items()}
        if self.verbose == 2:
            if is_last:
                print(" - ".join([f"{self.seen_so_far}/{self.target or self.seen_so_far}", *map(": ".join, figures.items())]))
            return
        if self._bar is None:
            form = f"{{l_bar}}{{bar:{self.width}}}{{r_bar}}"
            self._bar = tqdm(total=self.target, file=sys.stderr, mininterval=self.interval, unit=self.unit_name, bar_format=form)
        self._bar.set_postfix(figures, refresh=False)
        self._bar.update(self.seen_so_far - self._bar.n)
        if is_last:
            self._bar.refresh()
            self._bar.close()
            self._bar = None
