"""What `compile` was given, as plain values and back: optimizer, losses, metrics and their weights. The device is not saved."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from torchkeras_fn import losses, metrics, optimizers
from torchkeras_fn.engine.steps.execution import Execution
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import get_custom_objects
from torchkeras_fn.saving.trees import decode, encode, given, name_module

_OPTIMIZERS: dict[str, Any] = {
    name: kind for name, kind in vars(torch.optim).items() if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)
}
_MOST_OF_A_KIND = 100_000
"""The most thresholds, classes or the like that a metric in a file may ask for: it makes a table of them."""


def compile_config(model: Any) -> dict[str, Any]:
    """Return what a model was compiled with, as JSON can hold it.

    Raises `ValueError` for what a file can neither hold nor name, such as a `lambda`.

    >>> from torchkeras_fn import Sequential, layers
    >>> model = Sequential([layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse", metrics=["mae"])
    >>> compile_config(model)["metrics"]
    ['mae']
    """
    settings = model.objective.settings
    if model._targets_fed:
        raise ValueError(_advice("target_tensors are data, which is not saved with a model"))
    undecayed = _undecayed(model)
    return {
        "optimizer": _optimizer_config(model),
        **({"undecayed": undecayed} if undecayed else {}),
        "loss": map_entries(lambda entry: _entry_config(entry, losses.serialize), settings["loss"]),
        "metrics": map_entries(lambda entry: _entry_config(entry, metrics.serialize), settings["metrics"]),
        "weighted_metrics": map_entries(lambda entry: _entry_config(entry, metrics.serialize), settings["weighted_metrics"]),
        "loss_weights": map_entries(lambda entry: None if entry is None else float(entry), settings["loss_weights"]),
        "sample_weight_mode": map_entries(lambda entry: entry, list(model._weight_modes) or None),
        "execution": model._execution.settings,
    }


def compile_from(model: Any, config: Any) -> bool:
    """Compile a model as `compile_config` says; return whether it could be. Raises `ValueError` for a name that is not known.

    A `compile` of a user's class that takes other arguments than Keras' is left to the caller, with a warning.
    """
    _check_counts(config)
    arguments = {
        "optimizer": _leaving_undecayed(_optimizer_from(model, config["optimizer"]), model, config.get("undecayed", [])),
        "loss": map_entries(decode, config["loss"]),
        "metrics": map_entries(_metric_from, config["metrics"]),
        "weighted_metrics": map_entries(_metric_from, config["weighted_metrics"]),
        "loss_weights": config["loss_weights"],
        "sample_weight_mode": config["sample_weight_mode"],
    }
    execution = _execution_from(config.get("execution", {}))
    try:
        model.compile(**arguments, **execution)
    except TypeError as error:
        if is_ours(type(model).compile):
            raise
        told = f"The model is loaded, and not compiled, as its own compile takes other arguments ({error}): call it, or give compile=False."
        warnings.warn(told, UserWarning, stacklevel=5)
        return False
    return True


def _execution_from(settings: Any) -> dict[str, Any]:
    """The arguments of `compile` that say how the steps run; files of earlier versions have none. Their values are checked there."""
    known = Execution().settings
    if not isinstance(settings, Mapping) or not settings.keys() <= known.keys():
        raise ValueError(f"'execution' is {settings!r:.80}, which is not what compile takes: {', '.join(known)}.")
    return dict(settings)


def map_entries(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to the entries for the outputs: one, a list of them, a dict of them, or lists inside those."""
    if isinstance(value, Mapping) and "class_name" not in value and not any(str(key).startswith("$") for key in value):
        return {name: map_entries(function, part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_entries(function, part) for part in value]
    return function(value)


def _entry_config(entry: Any, serialize: Callable[[Any], Any]) -> Any:
    """A loss or a metric as JSON can hold it."""
    if entry is None or isinstance(entry, (str, Mapping)):
        return encode(entry)
    if isinstance(entry, nn.Module) and not hasattr(entry, "get_config"):
        described = name_module(entry)
        if "$torch" not in described:
            raise ValueError(_advice(f"{type(entry).__name__} is a module of your own; make it a Loss or Metric with a get_config"))
        return described
    if inspect.isclass(entry):
        entry = entry()  # whose name in the logs need not be that of the class
    if inspect.isroutine(entry) and not is_ours(entry):
        return encode(entry, owner="compile")  # which comes back as it is, under its own name in the logs
    try:
        written = serialize(entry)
    except ValueError as error:
        raise ValueError(_advice(str(error).rstrip("."))) from error
    return encode(written)


def describes_loss(entry: Any) -> bool:
    """Return whether an entry describes a loss of this library: a metric may be called alike, but a loss alone has a reduction.

    >>> describes_loss({"class_name": "Hinge", "config": {"reduction": "sum"}}), describes_loss({"class_name": "Hinge", "config": {}})
    (True, False)
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("config"), Mapping) or entry.get("class_name") in get_custom_objects():
        return False
    return "reduction" in entry["config"] and inspect.isclass(getattr(losses, str(entry.get("class_name")), None))


def _metric_from(entry: Any) -> Any:
    found = decode(entry)
    return losses.deserialize(found) if describes_loss(found) else found


def _advice(problem: str) -> str:
    return f"{problem}. Or save without the training configuration: save(path, include_optimizer=False)."


# ---------------------------------------------------------------------- optimizers


def _optimizer_config(model: Any) -> Any:
    """A description of this library's optimizers, or the class of one of torch's and the names of the weights in its groups."""
    optimizer = model.optimizer
    if isinstance(optimizer, optimizers.Optimizer):
        return encode(optimizers.serialize(optimizer))
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(_advice(f"{optimizer!r} makes a torch optimizer when the model is built, which it is not so far"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [[names.get(id(parameter)) for parameter in group["params"]] for group in optimizer.param_groups]
    if any(name is None for group in groups for name in group):
        raise ValueError(_advice(f"{type(optimizer).__name__} trains tensors that are not this model's"))
    return {"torch_optimizer": type(optimizer).__name__, "groups": groups}


def _optimizer_from(model: Any, config: Any) -> Any:
    if not isinstance(config, Mapping) or "torch_optimizer" not in config:
        return optimizers.get(decode(config))
    kind = _OPTIMIZERS.get(config["torch_optimizer"]) or given(config["torch_optimizer"])
    parameters = dict(model.named_parameters())
    missing = [name for group in config["groups"] for name in group if name not in parameters]
    if missing:
        raise ValueError(f"the optimizer trains {missing[0]!r}, which is no weight of the model.")
    made: Any = kind([{"params": [parameters[name] for name in group]} for group in config["groups"]])
    if not isinstance(made, torch.optim.Optimizer):
        raise ValueError(f"{config['torch_optimizer']!r} is no torch optimizer.")
    return made


def _undecayed(model: Any) -> list[str]:
    """The weights that the optimizer was told by `exclude_from_weight_decay` to leave as they are."""
    if not isinstance(model.optimizer, optimizers.Optimizer):
        return []
    names = model._parameter_names()
    return [name for name, parameter in model.named_parameters() if not model.optimizer._is_decayed(parameter, names)]


def _leaving_undecayed(optimizer: Any, model: Any, names: Any) -> Any:
    parameters = dict(model.named_parameters())
    unknown = [name for name in names if name not in parameters]
    if unknown:
        raise ValueError(f"weight decay leaves out {unknown[0]!r:.80}, which is no weight of the model.")
    if names:
        optimizer.exclude_from_weight_decay([parameters[name] for name in names])
    return optimizer


def _check_counts(config: Any) -> None:
    """Raise for a metric that asks for a table out of proportion."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            if str(name).startswith("num_") and isinstance(value, (int, float)) and not value <= _MOST_OF_A_KIND:
                raise ValueError(f"{name!r} is {value}, more than {_MOST_OF_A_KIND}.")
    for part in config.values() if isinstance(config, Mapping) else config if isinstance(config, list) else ():
        _check_counts(part)
