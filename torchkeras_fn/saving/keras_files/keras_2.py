"""What words of Keras 2 in a file mean, where Keras 3 means something else by them."""

from collections.abc import Mapping
from typing import Any


def in_words_of_today(described: Any, version: Any) -> Any:
    """Return what a file of some version of Keras describes, so that the words for activations mean what they meant there.

    >>> in_words_of_today({"recurrent_activation": "hard_sigmoid"}, "2.2.4")
    {'recurrent_activation': 'keras_2_hard_sigmoid'}
    >>> in_words_of_today({"recurrent_activation": "hard_sigmoid"}, "3.15.0")
    {'recurrent_activation': 'hard_sigmoid'}
    """
    return described if str(version).startswith("3") else _renamed(described)


def _renamed(value: Any, is_activation: bool = False) -> Any:
    if isinstance(value, Mapping):
        is_function = is_activation and value.get("class_name") == "function"
        return {key: _renamed(part, is_function or str(key).endswith("activation")) for key, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part) for part in value]
    return "keras_2_hard_sigmoid" if is_activation and value == "hard_sigmoid" else value
