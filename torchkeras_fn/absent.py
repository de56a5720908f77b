"""Names of Keras that have no meaning here, and what to use instead: told to those who ask for them, and to those who import them."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

_PRECISION = "Mixed precision is chosen for a training: model.compile(..., precision='mixed_bfloat16')."
_PROCESSES = "A script runs on several devices under torchrun as it is: docs/distributed.md."
_QUANTIZED = "torchao quantizes torch modules: model.to_torch() is one."
_STATELESS = "torch.func.functional_call(model, weights, (x,)) calls a model with other weights."
_RECOMPUTED = "torch.utils.checkpoint.checkpoint(function, x, use_reentrant=False) computes again what it does not keep."
_PUBLIC = "Import from the public modules, such as layers, models or ops."
_WORDS = (
    "torch has no tensors of strings: make indices of them before training, for example with numpy.unique(words, return_inverse=True)."
)
_WINDOWS = "preprocessing.sequence.TimeseriesGenerator makes batches of windows."
_FOLDERS = "torchvision.datasets.ImageFolder reads folders of images for a DataLoader, PIL.Image and numpy single ones."
_TRANSFORMED = "torchvision.transforms.v2 has it: apply it in a Dataset, or make it a layer by TorchModuleWrapper."
_TRANSFORMED_BATCHES = "torchvision.transforms.v2 has it: apply it in a Dataset, or in a collate_fn."
_SOUNDS = "torchaudio.transforms has it: TorchModuleWrapper(module) makes it a layer."
_OF_TORCH = "torch's own functions take tensors, also symbolic ones: torch.f(x) stands for K.tf.f(x) and K.T.f(x)."
_TYPES = "A dtype is torch's: dtype.is_floating_point, torch.promote_types(one, other), str(dtype)."
_EINOPS = "einops.rearrange takes real tensors; reshape and transpose take symbolic ones, too."
_GROUPS = "One optimizer of torch's has several groups of weights: torch.optim.Adam([{'params': ..., 'lr': ...}, ...])."
_LOGGED = "fit(..., verbose=2) prints a line for each epoch, verbose=0 nothing, and fit shows a bar."

_INSTEAD: dict[str, dict[str, str]] = {
    "": {
        **dict.fromkeys(("mixed_precision", "dtype_policies", "DTypePolicy", "FloatDTypePolicy"), _PRECISION),
        "distribution": _PROCESSES,
        "applications": "Take a network from torchvision or timm: layers.TorchModuleWrapper(module) makes it a layer.",
        "datasets": "Nothing is downloaded here: take any arrays or tensors.",
        "Variable": "A layer's weights are torch parameters: self.add_weight(...), or backend.variable(value).",
        "wrappers": "skorch makes scikit-learn's estimators of torch modules: model.to_torch() is one.",
        "objectives": "It is called losses.",
        "legacy": "Nothing is translated from Keras 1: write the arguments of Keras 2.",
        **dict.fromkeys(("quantizers", "Quantizer"), _QUANTIZED),
        "tree": "optree has it: optree.tree_map(function, structure).",
        "export": "model.export(path) writes a torch.export program, or an ONNX file with format='onnx'.",
        "visualization": "Draw arrays with matplotlib; utils.plot_model draws a model.",
        "version": "It is torchkeras_fn.__version__.",
        "device": "A model is put onto a device by model.compile(..., device='cuda'), or model.to('cuda').",
        **dict.fromkeys(("Function", "Operation"), "Model(inputs, outputs) is a function of tensors, and a Layer an operation on them."),
        **dict.fromkeys(("StatelessScope", "SymbolicScope"), _STATELESS),
        **dict.fromkeys(("remat", "RematScope"), _RECOMPUTED),
        **dict.fromkeys(("src", "api"), _PUBLIC),
    },
    "backend": {
        "image_dim_ordering": "It is called image_data_format: 'tf' is 'channels_last', 'th' is 'channels_first'.",
        "set_image_dim_ordering": "It is called set_image_data_format: 'tf' is 'channels_last', 'th' is 'channels_first'.",
        **dict.fromkeys(("tf", "T", "th", "theano"), _OF_TORCH),
        **dict.fromkeys(("get_graph", "control_dependencies"), "There is no graph of TensorFlow's: what is called runs, in order."),
        "scan": "ops.scan walks along a tensor and hands a state on; so do backend.rnn, foldl and foldr.",
        "normalize_data_format": "data_format=None is image_data_format() everywhere.",
        "ctc_label_dense_to_sparse": "ctc_batch_cost takes labels as they are, padded.",
        **dict.fromkeys(("standardize_dtype", "result_type", "is_float_dtype", "is_int_dtype"), _TYPES),
        "tensorflow_backend": "There is no session to set: torch takes a device's memory as it needs it. The functions are in backend.",
    },
    "engine": {
        "Network": "Model is one, and is in models.",
    },
    "layers": {
        **dict.fromkeys(("TextVectorization", "StringLookup", "HashedCrossing", "Hashing"), _WORDS),
        "IntegerLookup": "Make indices before training, for example with numpy.unique(values, return_inverse=True), or numpy.searchsorted.",
        **dict.fromkeys(("RandomErasing", "RandomGrayscale", "RandomHue", "RandomSaturation", "RandomSharpness"), _TRANSFORMED),
        **dict.fromkeys(("RandomShear", "RandomPerspective", "RandomElasticTransform", "RandomColorDegeneration"), _TRANSFORMED),
        **dict.fromkeys(("RandomColorJitter", "RandomGaussianBlur", "RandomInvert", "RandomPosterization"), _TRANSFORMED_BATCHES),
        **dict.fromkeys(("RandAugment", "AugMix", "MixUp", "CutMix"), _TRANSFORMED_BATCHES),
        **dict.fromkeys(("AutoContrast", "Equalization", "Solarization"), _TRANSFORMED_BATCHES),
        **dict.fromkeys(("MelSpectrogram", "STFTSpectrogram"), _SOUNDS),
        **dict.fromkeys(("TFSMLayer", "JaxLayer", "FlaxLayer"), "TorchModuleWrapper(module) makes any torch module a layer."),
        "ReversibleEmbedding": "Words are told by x @ embedding.weights[0].T, in the call of a layer of your own that holds an Embedding.",
        "Pipeline": "Sequential([...]) of the same layers is a layer too.",
        "experimental": "Its layers are in layers itself.",
    },
    "ops": {
        "rearrange": _EINOPS,
        "numpy": "Its functions are in ops itself.",
        "correlate": "torch.nn.functional.conv1d(x[None, None], kernel[None, None]) slides one over the other.",
        "ctc_decode": "It is backend.ctc_decode, with the arguments of Keras 2.",
        **dict.fromkeys(("adaptive_average_pool", "adaptive_max_pool"), "layers.AdaptiveAveragePooling2D and its like do it."),
        "associative_scan": "ops.scan does it step by step.",
        "vectorize": "torch.vmap(function) does it; ops.vectorized_map takes its arguments, too.",
        "jvp": "torch.func.jvp(function, primals, tangents) does it.",
    },
    "optimizers": {
        **dict.fromkeys(("MultiOptimizer", "OptimizerMap"), _GROUPS),
        "ScheduleFreeAdamW": "The package schedulefree has it for torch: compile takes torch's optimizers.",
    },
    "preprocessing": {
        "image": f"{_FOLDERS} RandomFlip, RandomRotation and other layers disturb them: docs/performance.md.",
        "text": f"{_WORDS} preprocessing.sequence.pad_sequences makes an array of them.",
        "image_dataset_from_directory": _FOLDERS,
        "text_dataset_from_directory": _WORDS,
        "timeseries_dataset_from_array": _WINDOWS,
    },
    "utils": {
        "HDF5Matrix": "fit, evaluate and predict take an h5py dataset as it is: h5py.File(path)['name'].",
        **dict.fromkeys(
            ("OrderedEnqueuer", "GeneratorEnqueuer", "SequenceEnqueuer"),
            "fit reads ahead by itself: give it the Sequence or the generator, with workers=4.",
        ),
        **dict.fromkeys(("multi_gpu_model", "training_utils"), _PROCESSES),
        "get_file": "Nothing is downloaded here: open a file of your own.",
        "print_summary": "model.summary() prints it.",
        "conv_utils": "A layer tells no output shape here: its call is run on tensors without data. A pair of n is (n, n).",
        "convert_all_kernels_in_model": "The kernels of a file are read as they are here.",
        "timeseries_dataset_from_array": _WINDOWS,
        **dict.fromkeys(("image_dataset_from_directory", "load_img", "img_to_array", "array_to_img", "save_img"), _FOLDERS),
        "text_dataset_from_directory": _WORDS,
        "audio_dataset_from_directory": "torchaudio reads files: make a torch Dataset of them.",
        "split_dataset": "torch.utils.data.random_split(dataset, [0.8, 0.2]) does it, and fit(..., validation_split=0.2) for arrays.",
        "FeatureSpace": "Make arrays of a table before training: layers.Normalization, Discretization and CategoryEncoding do columns.",
        **dict.fromkeys(("enable_interactive_logging", "disable_interactive_logging", "is_interactive_logging_enabled"), _LOGGED),
    },
}
"""What to use instead, by the module, without the package's name, and by the name that is looked for in it."""


def __getattr__(name: str) -> NoReturn:
    """Raise `AttributeError` for what the package does not have; it is the package's own `__getattr__`.

    >>> __getattr__("datasets")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn' has no attribute 'datasets'. Nothing is downloaded here: take any arrays or tensors.
    """
    raise _unknown("", name)


def optimizer(name: str) -> NoReturn:
    """Raise `AttributeError` for what `optimizers` does not have; it is the `__getattr__` of it.

    >>> optimizer("ScheduleFreeAdamW")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn.optimizers' has no attribute 'ScheduleFreeAdamW'.
        The package schedulefree has it for torch: compile takes torch's optimizers.
    """
    raise _unknown("optimizers", name)


def operation(name: str) -> NoReturn:
    """Raise `AttributeError` for what `ops` does not have; it is the `__getattr__` of it.

    >>> operation("jvp")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn.ops' has no attribute 'jvp'. torch.func.jvp(function, primals, tangents) does it.
    """
    raise _unknown("ops", name)


def of_backend(name: str) -> NoReturn:
    """Raise `AttributeError` for what `backend` does not have; it is the `__getattr__` of it.

    >>> of_backend("get_graph")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn.backend' has no attribute 'get_graph'.
        There is no graph of TensorFlow's: what is called runs, in order.
    """
    raise _unknown("backend", name)


def layer(name: str) -> NoReturn:
    """Raise `AttributeError` for a layer that there is not; it is the `__getattr__` of `layers`.

    >>> layer("JaxLayer")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn.layers' has no attribute 'JaxLayer'. TorchModuleWrapper(module) makes any torch module a layer.
    """
    raise _unknown("layers", name)


def preparation(name: str) -> NoReturn:
    """Raise `AttributeError` for what `preprocessing` does not have; it is the `__getattr__` of it.

    >>> preparation("timeseries_dataset_from_array")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn.preprocessing' has no attribute 'timeseries_dataset_from_array'.
        preprocessing.sequence.TimeseriesGenerator makes batches of windows.
    """
    raise _unknown("preprocessing", name)


def utility(name: str) -> NoReturn:
    """Raise `AttributeError` for what `utils` does not have; it is the `__getattr__` of it.

    >>> utility("get_file")
    Traceback (most recent call last):
        ...
    AttributeError: module 'torchkeras_fn.utils' has no attribute 'get_file'. Nothing is downloaded here: open a file of your own.
    """
    raise _unknown("utils", name)


def _unknown(module: str, name: str) -> AttributeError:
    """The error for a name that a module does not have. Without advice Python itself adds the name that may have been meant."""
    path = f"{_package()}.{module}".rstrip(".")
    message, advice = f"module {path!r} has no attribute {name!r}", _INSTEAD[module].get(name)
    return AttributeError(f"{message}. {advice}") if advice else AttributeError(message, name=name, obj=sys.modules.get(path))


def _package() -> str:
    return __name__.partition(".")[0]


class _Imports(MetaPathFinder):
    """Tells those who import a name what to use instead: `from package import name` keeps silent of what `__getattr__` raises.

    Where a package lacks the name, Python looks for a module that is called so, and here last of all.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return `None`, for there is no such module. Raises `ModuleNotFoundError` where there is something to be used instead."""
        package, _, inner = fullname.partition(".")
        module, _, name = inner.rpartition(".")
        advice = _INSTEAD.get(module, {}).get(name) if package == _package() else None
        if advice:  # with the name in the error's attribute of it, the import would go on, and end in an error without the advice
            raise ModuleNotFoundError(f"cannot import {name!r} from {fullname.rpartition('.')[0]!r}. {advice}")
        return None


sys.meta_path.append(_Imports())
