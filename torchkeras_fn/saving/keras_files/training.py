"""What Keras says of how a model was compiled, and what is written of it."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torchkeras_fn import losses, metrics
from torchkeras_fn.engine.steps.execution import Execution
from torchkeras_fn.optimizers import LossScaleOptimizer, Optimizer
from torchkeras_fn.registry import get_custom_objects, snake_case
from torchkeras_fn.saving.compile_config import compile_config, compile_from, describes_loss, map_entries
from torchkeras_fn.saving.keras_files.outputs import per_output
from torchkeras_fn.saving.keras_files.reading import Reader
from torchkeras_fn.saving.keras_files.values import from_keras, to_keras

_ARGUMENTS = ("loss", "metrics", "weighted_metrics", "loss_weights")
_SETTINGS = ("jit_compile", "auto_scale_loss", "steps_per_execution")
_OWN_SETTINGS = ("precision", "gradient_accumulation_steps", "steps_per_execution")
_WEIGHTED = "weighted_metrics"
_SCALE = "loss_scale"
OWN = "torchkeras_fn"
"""The key, beside what Keras reads, of the settings that it has no word for, or that it cannot do on every backend."""
_OF_THE_SCALE = ("initial_scale", "dynamic_growth_steps", "name")
_OF_KERAS_2 = frozenset(("decay", "lr", "schedule_decay"))


def compile_as_saved(model: Any, config: Any, reader: Reader, own: Any = None) -> bool:
    """Compile a model as Keras was asked to; return whether there is anything to compile.

    `own` is what stands beside it in a file written here: the settings that Keras has no word for. Raises `ValueError` for
    an unknown name, or one that the caller has to give in `custom_objects`.
    """
    if not isinstance(config, Mapping) or not (config.get("optimizer") or config.get("optimizer_config")):
        return False
    optimizer = from_keras(config.get("optimizer") or config["optimizer_config"], reader.layer)
    mode, execution, named = config.get("sample_weight_mode") or None, _execution(config, own or {}), dict(own or {})
    found = {name: map_entries(_function_of, from_keras(named.get(name, config.get(name)), reader.layer)) for name in _ARGUMENTS}
    arguments = {name: _listed(model, value) for name, value in found.items()}
    left_out = ("jit_compile", "is_legacy_optimizer", *({"gradient_accumulation_steps"} & execution.keys()))
    return compile_from(model, {"optimizer": _scaled(optimizer, left_out), **arguments, "sample_weight_mode": mode, "execution": execution})


def _function_of(entry: Any) -> Any:
    """Mark the name that a function was registered under, by a package and its own: in the logs it has its own alone."""
    return {"$function": entry} if isinstance(entry, str) and ">" in entry else entry


def own_scale(own: Any) -> Any:
    """Return the scale of the loss that stands beside what Keras reads; `None` where there is none."""
    return own.get(_SCALE) if isinstance(own, Mapping) else None


def _execution(config: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """How the steps run: what Keras says of it, and what is said beside. `compile` checks the values."""
    known = (*_OWN_SETTINGS, *_ARGUMENTS, _SCALE)
    if not isinstance(own, Mapping) or not own.keys() <= set(known):
        raise ValueError(f"{OWN!r} is {own!r:.80}, which is not what is written there: {', '.join(known)}.")
    found = {name: config[name] for name in _SETTINGS if config.get(name) is not None}
    if config.get("run_eagerly"):  # which Keras lets win
        found["jit_compile"] = False
    return {**found, **{name: value for name, value in own.items() if name in _OWN_SETTINGS}}


def _scaled(optimizer: Any, left_out: Sequence[str]) -> Any:
    """The optimizer without the arguments that say nothing here, also inside one that scales the loss; a fixed scale needs none."""
    if not isinstance(optimizer, dict) or optimizer["class_name"] != "LossScaleOptimizer":
        return _without(optimizer, left_out)
    config = {key: value for key, value in optimizer["config"].items() if key in _OF_THE_SCALE and value is not None}
    inner = _without(optimizer["config"]["inner_optimizer"], left_out)
    return {**optimizer, "config": {**config, "inner_optimizer": inner}} if optimizer["config"].get("dynamic", True) else inner


def _without(optimizer: Any, names: Sequence[str]) -> Any:
    """The optimizer without the arguments that say nothing here."""
    if isinstance(optimizer, dict):
        return {**optimizer, "config": {key: value for key, value in optimizer["config"].items() if key not in names}}
    return optimizer


def _listed(model: Any, value: Any) -> Any:
    """Lists of metrics that stand in a list for the only output come without it."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) and model.graph is not None and len(model.outputs) == 1:
        return value[0]
    return value


# ---------------------------------------------------------------------- to Keras


def written_compile_config(model: Any, in_full: bool = False) -> dict[str, Any]:
    """Return what a model was compiled with as Keras reads it; `in_full` without names for losses and metrics.

    Keras 3 does not read such names as `'mse'` back from `.h5`, not even its own, and elsewhere fewer names than there are here.
    Raises `ValueError` for what Keras does not know, such as losses and optimizers of torch.
    """
    config = compile_config(model)
    if not isinstance(model.optimizer, Optimizer):
        raise ValueError(f"Keras knows no {type(model.optimizer).__name__} of torch. {_ADVICE}")
    named = {name: _named(value, _home(name), in_full) for name, value in per_output(model, _given(config)).items()}
    found = {name: to_keras(value, _no_layer, "compile", _home(name)) for name, value in named.items()}
    settings = model._execution
    written = {"run_eagerly": False, "steps_per_execution": 1, "jit_compile": settings.jit_compile}  # on torch, Keras takes no other number
    unscaled = {} if settings.auto_scale_loss else {"auto_scale_loss": False}  # True is Keras' default, and no word of its older versions
    return {"optimizer": _written_optimizer(model.optimizer, model.optimizer._batches_per_step), **found, **written, **unscaled}


def own_settings(model: Any, in_full: bool = False) -> dict[str, Any]:
    """Return, under a key that Keras passes over, how a model was compiled where Keras has no word for it, or cannot do it on torch.

    Losses and metrics that Keras reads by another name, or otherwise listed, stand there as they were given. `in_full` adds losses, for
    the attribute `loss`, and all weighted metrics: a name is averaged as a loss is, and the class that it stands for is not.

    >>> from torchkeras_fn import Sequential, layers
    >>> model = Sequential([layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse", precision="mixed_bfloat16")
    >>> own_settings(model)
    {'torchkeras_fn': {'precision': 'mixed_bfloat16'}}
    """
    settings, usual = model._execution.settings, Execution().settings
    found = {name: settings[name] for name in _OWN_SETTINGS if settings[name] != usual[name]}
    given = _given(compile_config(model))
    for name, value in per_output(model, given).items():
        if given[name] and (in_full and name in ("loss", _WEIGHTED) or _named(value, _home(name), False) != given[name]):
            found[name] = to_keras(given[name], _no_layer, "compile", _home(name))
    scale = model.optimizer.state_dict().get("scaling")
    if scale is not None and not isinstance(model.optimizer, LossScaleOptimizer):  # whose own state Keras knows
        found[_SCALE] = scale
    return {OWN: found} if found else {}


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(config[name]) for name in _ARGUMENTS}


def _home(argument: str) -> str:
    """Which vocabulary an argument of `compile` takes objects from."""
    return "losses" if argument == "loss" else "metrics"


_ADVICE = "Save without the training configuration: save(path, include_optimizer=False)."


def _no_layer(layer: Any) -> Any:
    raise ValueError(f"{layer!r} is no loss and no metric.")


def _plain(value: Any) -> Any:
    """What `compile_config` returned, without the marks of this library's own files."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    if "$torch" in value or "$function" in value and str(value["$function"]).startswith("torch."):
        raise ValueError(f"Keras does not know {value.get('$torch') or value['$function']!r} of torch. {_ADVICE}")
    if "$function" in value:
        return _function(value["$function"])
    if "$tuple" in value:
        return _plain(value["$tuple"])
    if "$dict" in value:
        return {str(_plain(key)): _plain(part) for key, part in value["$dict"]}
    plain = {key: _plain(part) for key, part in value.items()}
    if plain.get("class_name") == "MeanMetricWrapper":
        plain["config"] = {**plain["config"], "fn": _function(plain["config"]["fn"])}
    return plain


def _function(name: str) -> dict[str, Any]:
    return {"class_name": "function", "config": name}


def _named(value: Any, home: str, in_full: bool) -> Any:
    """Names of losses and metrics that Keras does not know, and `in_full` the others too, as the classes that they stand for.

    A loss that is no metric of Keras' is the mean of its function there. A name that stands for several stays.
    """
    if isinstance(value, list):
        return [_named(part, home, in_full) for part in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {name: _named(part, home, in_full) for name, part in value.items()}
    if home == "metrics" and describes_loss(value):
        return _mean_of(value["class_name"], value["config"])
    if not isinstance(value, str) or value in _OF_SEVERAL or value in get_custom_objects():
        return value
    try:
        made = (losses if home == "losses" else metrics).registry.get(value)
    except ValueError:
        return value  # a function of the user's, which whoever reads the file has to give
    kind = type(made).__name__
    if home == "metrics" and isinstance(made, losses.Loss):
        return {"class_name": "MeanMetricWrapper", "config": {"name": value, "fn": _function(snake_case(kind))}}
    if not in_full and value in (kind, snake_case(kind), *_SHORT, *(("kld", "KLD") if home == "losses" else ())):
        return value
    return {"class_name": kind, "config": {"name": value} if home == "metrics" else {}}  # the name in the logs


def _mean_of(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The metric of Keras that is the mean of a loss: the class of the same name, or that for the mean of any function.

    The loss itself would be read from `.h5` as the former, which has no reduction, or not at all.
    """
    usual = inspect.signature(getattr(losses, name)).parameters
    said = {key: value for key, value in config.items() if key not in ("reduction", "dtype") and value is not None}
    chosen = {key: value for key, value in said.items() if key == "name" or value != usual[key].default}
    kind = getattr(metrics, name, None)
    if inspect.isclass(kind) and chosen.keys() <= inspect.signature(kind).parameters.keys():
        return {"class_name": name, "config": chosen}
    return {"class_name": "MeanMetricWrapper", "config": {**chosen, "fn": _function(snake_case(name))}}


_SHORT = ("mse", "MSE", "mae", "MAE", "mape", "MAPE", "msle", "MSLE", "bce", "BCE")
"""The short names that Keras knows, of losses and of metrics."""
_OF_SEVERAL = ("accuracy", "acc")


def _written_optimizer(optimizer: Any, batches: int) -> dict[str, Any]:
    config = optimizer.get_config()
    kept = {key: value for key, value in config.items() if key not in _OF_KERAS_2}
    if "inner_optimizer" in config:
        kept.pop("inner_optimizer")
        described = {"class_name": type(optimizer).__name__, "config": kept}
        outer: dict[str, Any] = to_keras(described, _no_layer, "the optimizer")
        return {**outer, "config": {**outer["config"], "inner_optimizer": _written_optimizer(optimizer.inner_optimizer, batches)}}
    rate = config["learning_rate"]
    if optimizer.decay and isinstance(rate, float):
        stairs = {"staircase": True} if batches > 1 else {}  # schedules count batches, and `decay` steps
        rate = {
            "class_name": "InverseTimeDecay",
            "config": {"initial_learning_rate": rate, "decay_steps": batches, "decay_rate": optimizer.decay, **stairs},
        }
    gathering = {"gradient_accumulation_steps": batches} if batches > 1 else {}  # which `compile` may have been asked for
    described = {"class_name": type(optimizer).__name__, "config": {**kept, **gathering, "learning_rate": rate}}
    found: dict[str, Any] = to_keras(described, _no_layer, "the optimizer")
    return found
