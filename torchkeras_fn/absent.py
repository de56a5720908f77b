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
_UTILS_INSTEAD = {
    "HDF5Matrix": "fit, evaluate and predict take an h5py dataset as it is: h5py.File(path)['name'].",
    **dict.fromkeys(
        ("OrderedEnqueuer", "GeneratorEnqueuer", "SequenceEnqueuer"),
        "fit reads ahead by itself: give it the Sequence or the generator, with workers=4.",
    ),
    "multi_gpu_model": "A script runs on several devices under torchrun as it is: docs/distributed.md.",
    "get_file": "Nothing is downloaded here: open a file of your own.",
    "print_summary": "model.summary() prints it.",
    "timeseries_dataset_from_array": "preprocessing.sequence.TimeseriesGenerator makes batches of windows.",
    **dict.fromkeys(
        ("image_dataset_from_directory", "load_img", "img_to_array", "array_to_img", "save_img"),
        "torchvision.datasets.ImageFolder reads folders of images for a DataLoader, PIL.Image and numpy single ones.",
    ),
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


def utility(name: str) -> NoReturn:
    """Raise `AttributeError` for what `utils` does not have; it is the `__getattr__` of it.

    >>> utility("get_file")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn.utils' has no attribute 'get_file'. Nothing is downloaded here: open a file of your own.
    """
    package = __name__.partition(".")[0]
    raise AttributeError(f"module '{package}.utils' has no attribute {name!r}. {_UTILS_INSTEAD.get(name, '')}".rstrip())
