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
_LAYERS_INSTEAD = {
    **dict.fromkeys(
        ("TextVectorization", "StringLookup", "HashedCrossing", "Hashing"),
        "torch has no tensors of strings: make indices of them before training, for example with numpy.unique(words, return_inverse=True).",
    ),
    "IntegerLookup": "Make indices before training, for example with numpy.unique(values, return_inverse=True), or numpy.searchsorted.",
    **dict.fromkeys(
        ("RandomErasing", "RandomGrayscale", "RandomHue", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomPerspective"),
        "torchvision.transforms.v2 has it: apply it in a Dataset, or make it a layer by TorchModuleWrapper.",
    ),
    **dict.fromkeys(
        ("RandomColorJitter", "RandomGaussianBlur", "RandomInvert", "RandomPosterization", "RandAugment", "AugMix", "MixUp", "CutMix"),
        "torchvision.transforms.v2 has it: apply it in a Dataset, or in a collate_fn.",
    ),
    **dict.fromkeys(("MelSpectrogram", "STFTSpectrogram"), "torchaudio.transforms has it: TorchModuleWrapper(module) makes it a layer."),
    **dict.fromkeys(("TFSMLayer", "JaxLayer", "FlaxLayer"), "TorchModuleWrapper(module) makes any torch module a layer."),
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


def layer(name: str) -> NoReturn:
    """Raise `AttributeError` for a layer that there is not; it is the `__getattr__` of `layers`.

    >>> layer("JaxLayer")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn.layers' has no attribute 'JaxLayer'. TorchModuleWrapper(module) makes any torch module a layer.
    """
    package = __name__.partition(".")[0]
    raise AttributeError(f"module '{package}.layers' has no attribute {name!r}. {_LAYERS_INSTEAD.get(name, '')}".rstrip())
