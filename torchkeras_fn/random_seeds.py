"""`SeedGenerator`: a source of random numbers that gives others every time, and the same in every program."""

from collections.abc import Mapping
from typing import Any

import torch

from torchkeras_fn.arguments import seed_of
from torchkeras_fn.configurable import Configurable


class SeedGenerator(Configurable):
    """A source of random numbers of its own, for `seed=`; without a seed torch's. Raises `ValueError` for one that is no integer.

    >>> generator = SeedGenerator(1)
    >>> generator.next() == generator.next()
    False
    """

    def __init__(self, seed: int | None = None, name: str | None = None):
        self.seed = seed_of(seed)
        self.name = name
        self._generators: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator | None:
        """Return torch's generator for a device; `None` stands for the global one."""
        if self.seed is None:
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def next(self, ordered: bool = True) -> int:
        """Return a new integer, to be used as a seed."""
        return int(torch.randint(2**31, (), generator=self.on(torch.device("cpu"))))

    def state_dict(self) -> dict[str, Any]:
        """Return how far the generators have come, by the names of their devices."""
        return {str(device): generator.get_state() for device, generator in self._generators.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        for device, values in state.items():
            generator = self.on(torch.device(device))
            if generator is not None:
                generator.set_state(values)


Seed = int | SeedGenerator | None


def seed_source(seed: Any) -> Seed:
    """Return what `seed=` was given: an integer, a `SeedGenerator`, which may be its config, or `None`.

    Raises `ValueError` for anything else.

    >>> seed_source({"class_name": "SeedGenerator", "config": {"seed": 3}}).seed
    3
    """
    if isinstance(seed, SeedGenerator):
        return seed
    if isinstance(seed, Mapping) and seed.get("class_name") == "SeedGenerator":
        made: SeedGenerator = SeedGenerator.from_config(seed["config"])
        return made
    return seed_of(seed)
