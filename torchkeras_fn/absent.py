"""Names of Keras that have no meaning here, and what to use instead."""

from typing import NoReturn

_INSTEAD = {
    "mixed_precision": "Mixed precision is chosen for a training: model.compile(..., precision='mixed_bfloat16').",
    "dtype_policies": "Mixed precision is chosen for a training: model.compile(..., precision='mixed_bfloat16').",
    "distribution": "A script runs on several devices under torchrun as it is: docs/distributed.md.",
    "applications": "Take a network from torchvision or timm: layers.TorchModuleWrapper(module) makes it a layer.",
    "datasets": "Nothing is downloaded here: take any arrays or tensors.",
    "Variable": "A layer's weights are torch parameters: self.add_weight(...), or backend.variable(value).",
}


def __getattr__(name: str) -> NoReturn:
    """Raise `AttributeError` for what the package does not have; it is the package's own `__getattr__`.

    >>> __getattr__("datasets")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn' has no attribute 'datasets'. Nothing is downloaded here: take any arrays or tensors.
    """
    package = __name__.partition(".")[0]
    raise AttributeError(f"module {package!r} has no attribute {name!r}. {_INSTEAD.get(name, '')}".rstrip())
