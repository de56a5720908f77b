"""`Epochs`: the batches of each epoch in turn, out of a source that gives passes over some data; and how to come back into one."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torchkeras_fn.engine.basics import threads
from torchkeras_fn.engine.basics.random_state import States, generators_of
from torchkeras_fn.engine.batches.position import Place
from torchkeras_fn.engine.batches.sources import Source

NOTHING = "There is nothing to work on: the data gave no batch."


class Epochs:
    """The batches of each epoch in turn: `steps` of them, going on where the last epoch ended, or a whole pass for `None`.

    `convert` makes a batch of tensors of what the source gives, unless that gives batches already. When data that cannot
    begin again is over, the epoch ends with a warning, and `exhausted` is set. Raises `ValueError` for data that gave
    nothing from the start.
    """

    def __init__(self, source: Source, convert: Callable[[Any], Any] | None, steps: int | None = None):
        self.source, self.convert = source, convert
        self.steps = steps
        self.samples = source.samples
        self.exhausted = False
        self.spare: Any = None
        """A batch with which to take part in steps for which there is no data left, while other processes have some."""
        self.rows = 0
        """How many rows this process, which is one of several, has had in the epoch."""
        self.last_rows = 0
        """And how many with the last batch."""
        self.may_be_empty = False
        """Whether there may be no batch at all, as other processes may have some."""
        self._pass: Any = None
        self._position = 0
        self._length: int | None = None
        self._begun = False
        self._start: Place | None = None
        self._done_before = 0

    def __len__(self) -> int:
        if self.steps is None and self.source.steps is None:
            raise TypeError("The number of batches is not known.")
        return self.steps if self.steps is not None else int(self.source.steps or 0)

    def __iter__(self) -> Iterator[Any]:
        source, wanted, done = self.source, self.steps, self._done_before
        self._done_before = 0
        if wanted is not None:
            source.expect(wanted - done)
        while wanted is None or done < wanted:
            if self._pass is None:
                self._start = source.place() if source.is_watched else None
                self._pass, self._position, self._length = source.one_pass(), 0, source.steps
            try:
                is_alone = source.is_planned and not (threads.waiting and done)
                raw = next(self._pass) if is_alone else threads.aside(next, self._pass)
            except StopIteration:
                self._pass = None if source.restarts else iter(())
                if self._position < (self._length or 0):
                    warnings.warn(f"The data gave {self._position} batches, but its length says {self._length}.", stacklevel=2)
                if wanted is None or not source.restarts or self._position == 0:
                    break
                continue
            self._position += 1
            done += 1
            yield raw if self.convert is None else self.convert(raw)
        if self._pass is not None and source.restarts and self._position == self._length:
            # a used-up pass comes to its end here, which tells a Sequence that its epoch is over
            next(self._pass, None) if source.is_planned else threads.aside(next, self._pass, None)
            self._pass = None
        if done == 0 and not self._begun:
            if not self.may_be_empty:
                raise ValueError(NOTHING)
            self.exhausted = True
            return
        self._begun = True
        if done < (wanted or 1):
            self.exhausted = True
            message = f"The data ended after {done} of the {wanted or 1} steps that were wanted."
            warnings.warn(f"{message} Training on it ends with that; training that only validates on it goes on.", stacklevel=2)

    @property
    def place_in_pass(self) -> int:
        """Where in its pass the batch was that came last, counted from 0."""
        return self._position - 1

    def peek(self) -> Any:
        """Return the first batch as the source gave it, without using it up. Raises `ValueError` where there is none.

        Nothing runs after it: threads and processes begin with the first epoch.
        """
        try:
            return self.source.first()
        except StopIteration:
            raise ValueError(NOTHING) from None

    # ------------------------------------------------------------------ coming back

    def watch(self) -> None:
        """Note from now on what it takes to come back; worker processes then begin anew with each pass."""
        self.source.is_watched = True

    @property
    def is_resumed(self) -> bool:
        """Whether the epoch that comes is one of which another run has done a part."""
        return self._done_before > 0

    def position(self) -> dict[str, Any]:
        """Return where the data is: the random states as the pass under way began, and how many of its batches were taken."""
        source, start = self.source, self._start if self._pass is not None else None
        return {
            "start": None if start is None else start.state(),
            "batches": self._position,
            "now": [generators_of(holder) for holder in source.holders()],
            "ahead": None if start is None or source.ahead is None else source.ahead.state(),
            "begun": self._begun,
            "exhausted": self.exhausted,
            "rows": self.rows,
            "last_rows": self.last_rows,
            "spare": self.spare,
            "source": source.state_dict(),
        }

    def seek(self, position: Mapping[str, Any], done: int = 0) -> States:
        """Go where another run was, `done` batches into an epoch; return the shared random states that reading left there.

        Raises `ValueError` for data that has fewer batches.
        """
        source, now = self.source, Place({}, position["now"])
        source.load_state_dict(position["source"])
        self._close_pass()
        if position["start"] is not None:
            self._start = Place.from_state(position["start"])
            self._start.come_back(source.holders())
            self._pass, self._length = source.pass_after(position["batches"]), source.steps
            if position["ahead"] is not None:
                now = Place.from_state(position["ahead"])
        elif done and self.steps is None:  # the epoch's only pass had ended, as it has when the last execution is over
            self._pass = iter(())
        self._position, self._done_before = position["batches"], done
        self._begun, self.exhausted = position["begun"], position["exhausted"]
        self.rows, self.last_rows, self.spare = position.get("rows", 0), position.get("last_rows", 0), position.get("spare")
        now.come_back(source.holders())
        return now.shared

    def rewind(self) -> None:
        """Begin anew at the next epoch, where the data can."""
        if self.source.restarts and self._position:
            self._close_pass()

    def close(self) -> None:
        """End all threads and processes."""
        self._close_pass()
        self.source.close()

    def _close_pass(self) -> None:
        ours, self._pass = self._pass, None
        if ours is not None and ours is not getattr(self.source, "generator", None) and hasattr(ours, "close"):
            ours.close()
