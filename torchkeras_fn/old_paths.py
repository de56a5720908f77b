"""The modules of Keras 2 from which programs import what has its home elsewhere: `layers.convolutional`, `engine.topology`."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

PATHS: Mapping[str, str] = {
    **{f"layers.{name}": "layers" for name in ("advanced_activations", "convolutional", "convolutional_recurrent", "core", "embeddings")},
    **{f"layers.{name}": "layers" for name in ("local", "merge", "noise", "normalization", "pooling", "recurrent", "wrappers")},
    **{f"utils.{name}": "utils" for name in ("data_utils", "generic_utils", "io_utils", "layer_utils", "vis_utils")},
    **{name: "layers models utils" for name in ("engine", "engine.topology", "engine.base_layer", "engine.input_layer")},
    **{f"engine.{name}": "models" for name in ("training", "network", "sequential")},
}
"""Each path in Keras 2, and the modules here that have what is found there."""


def open_paths() -> None:
    """Let every path be imported; one that is a module here, such as `layers.core`, has what else belongs there besides its own.

    >>> importlib.import_module("torchkeras_fn.layers.advanced_activations").LeakyReLU.__name__
    'LeakyReLU'
    """
    package = __name__.partition(".")[0]
    for path, homes in PATHS.items():
        parent, _, name = path.rpartition(".")
        known = sys.modules.get(f"{package}.{path}")
        module = known or ModuleType(f"{package}.{path}", f"Keras 2's path to what is in {homes}.")
        module.__dict__["__getattr__"] = _Looking([importlib.import_module(f"{package}.{home}") for home in homes.split()])
        if known is None:
            sys.modules[module.__name__] = module
            setattr(sys.modules[f"{package}.{parent}"], name, module)


class _Looking:
    """The `__getattr__` of a module that finds its names in others."""

    def __init__(self, homes: Sequence[ModuleType]):
        self.homes = homes

    def __call__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(next((home for home in self.homes if name in vars(home)), self.homes[0]), name)
