"""Architectures as JSON: written in this library's own words, and read in those and in Keras'."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from torchkeras_fn.registry import custom_object_scope
from torchkeras_fn.saving.describe import describe_model, make_model
from torchkeras_fn.saving.keras_files.keras_2 import in_words_of_today
from torchkeras_fn.saving.keras_files.reading import Reader
from torchkeras_fn.saving.trees import parse_json


def to_json(model: Any, **options: Any) -> str:
    """Return the architecture of a model as JSON; `options` are those of `json.dumps`.

    >>> from torchkeras_fn import Sequential, layers
    >>> text = to_json(Sequential([layers.Dense(2, input_shape=(3,))]))
    >>> model_from_json(text).output_shape
    (None, 2)
    """
    return json.dumps(describe_model(model), **options)


def model_from_json(json_string: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return a model, with new weights, of the architecture that `to_json` wrote, here or in Keras 2 or 3.

    `custom_objects` holds the user's own classes and functions by their names. Raises `ValueError` for text that
    describes no model, and for a name that is neither this library's nor given.

    >>> layer = {"class_name": "Dense", "config": {"name": "dense", "units": 2, "batch_input_shape": [None, 3]}}
    >>> text = {"class_name": "Sequential", "config": {"name": "stack", "layers": [layer]}, "keras_version": "2.2.4"}
    >>> model_from_json(json.dumps(text)).output_shape
    (None, 2)
    """
    text = json_string if isinstance(json_string, bytes) else str(json_string).encode()
    return _made(lambda: parse_json(text), "The text", custom_objects)


def model_from_config(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return a model, with new weights, of a configuration: a dict of `class_name` and `config`, which is what `get_config` returned.

    What `json.loads(model.to_json())` returns is one too. Raises `TypeError` for another thing than a dict, and else as
    `model_from_json` does.

    >>> from torchkeras_fn import Sequential, layers
    >>> model = Sequential([layers.Dense(2, input_shape=(3,))])
    >>> model_from_config({"class_name": "Sequential", "config": model.get_config()}).output_shape
    (None, 2)
    """
    if not isinstance(config, Mapping):
        raise TypeError(
            f"A dict of 'class_name' and 'config' is needed, got {type(config).__name__}. What get_config() returns goes to the class: "
            "Sequential.from_config(config)."
        )
    return _made(lambda: config, "The configuration", custom_objects)


def model_from_yaml(yaml_string: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Raise `RuntimeError`, as Keras does: reading YAML could run code. Use `model_from_json`."""
    raise RuntimeError("Models are not read from YAML any more, since that could run code. Use to_json() and model_from_json().")


def _made(describe: Callable[[], Any], what: str, custom_objects: Mapping[str, Any] | None) -> Any:
    with custom_object_scope(custom_objects or {}):
        try:
            described = describe()
            if isinstance(described, Mapping) and described.keys() & _WORDS_OF_KERAS:
                return Reader().model(in_words_of_today(described, described.get("keras_version", "3")))
            return make_model(described)
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            raise ValueError(f"{what} describes no model that can be made here: {kind}{error}") from error


_WORDS_OF_KERAS = {"keras_version", "registered_name"}
"""What Keras 2, and Keras 3, say of a model beside its class and its configuration."""
