"""Keras' API over PyTorch: draw a model, `fit` it, and keep a plain torch module."""

import gc

# The objects of these imports may set off a pass of the garbage collector over all of torch's, which takes longer than they do.
_collects = gc.isenabled()
gc.disable()
try:
    from torchkeras_fn import (
        activations,
        backend,
        callbacks,
        config,
        constraints,
        initializers,
        layers,
        losses,
        metrics,
        models,
        ops,
        optimizers,
        preprocessing,
        random,
        regularizers,
        utils,
    )
    from torchkeras_fn.engine.trainer import Trainer
    from torchkeras_fn.layers import Input
    from torchkeras_fn.models import Model, Sequential
finally:
    if _collects:
        gc.enable()

__version__ = "0.1.0"

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "Trainer",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "preprocessing",
    "random",
    "regularizers",
    "utils",
]
