"""Who takes part in `run.py`: hand-written loops, this library, and the peers, each in a module with a `make`.

`make(task, device, **arguments)` returns the function that does the task, or None where the contestant has no idiom for it.
"""

import importlib
import importlib.util
from dataclasses import dataclass, field
from typing import Any

from tasks import Run, Task


@dataclass(frozen=True)
class Contestant:
    """A column of the table: its title, its module here, what must be installed for it, and how it is called.

    `environment` is that of its process, and `arguments` go to `make`.
    """

    title: str
    module: str
    needs: tuple[str, ...] = ("torch",)
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """Import the contestant's module, and the libraries with it."""
        return importlib.import_module(f"contestants.{self.module}")

    def make(self, task: Task, device: str) -> Run | None:
        """Return the function that does the task, or None."""
        return self.load().make(task, device, **self.arguments)  # type: ignore[no-any-return]

    @property
    def missing(self) -> list[str]:
        """What would have to be installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def keras_on(backend: str) -> dict[str, str]:
    """Return the environment that chooses a backend of Keras."""
    return {"KERAS_BACKEND": backend}


# by the names that `--contestants` takes, in the order of the columns
CONTESTANTS = {
    "tight": Contestant("tight loop", "tight"),
    "tight-compiled": Contestant("tight loop, torch.compile", "tight_compiled"),
    "usual": Contestant("DataLoader loop", "usual"),
    "eager": Contestant("torchkeras_fn", "ours"),
    "compiled": Contestant("torchkeras_fn, jit_compile=True", "ours", arguments={"jit_compile": True}),
    "keras-torch": Contestant("Keras on torch", "keras", ("keras", "torch"), keras_on("torch")),
    "keras-jax": Contestant("Keras on JAX", "keras", ("keras", "jax"), keras_on("jax")),
    "lightning": Contestant("Lightning", "lightning", ("lightning",)),
    "skorch": Contestant("skorch", "skorch", ("skorch",)),
    "poutyne": Contestant("Poutyne", "poutyne", ("poutyne",)),
    "ignite": Contestant("Ignite", "ignite", ("ignite",)),
}
