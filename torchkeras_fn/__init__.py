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
        old_paths,
        ops,
        optimizers,
        preprocessing,
        random,
        regularizers,
        saving,
        utils,
    )
    from torchkeras_fn.absent import __getattr__ as __getattr__
    from torchkeras_fn.backend import name_scope
    from torchkeras_fn.engine.symbolic import KerasTensor
    from torchkeras_fn.engine.trainer import Trainer
    from torchkeras_fn.initializers import Initializer
    from torchkeras_fn.layers import Input, InputSpec, Layer
    from torchkeras_fn.losses import Loss
    from torchkeras_fn.metrics import Metric
    from torchkeras_fn.models import Model, Sequential
    from torchkeras_fn.optimizers import Optimizer
    from torchkeras_fn.regularizers import Regularizer

    old_paths.open_paths()
finally:
    if _collects:
        gc.enable()

__version__ = "0.1.0"

__all__ = [
    "Initializer",
    "Input",
    "InputSpec",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
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
    "name_scope",
    "ops",
    "optimizers",
    "preprocessing",
    "random",
    "regularizers",
    "saving",
    "utils",
]
