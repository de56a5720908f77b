"""What Keras says of a layer in a configuration, and layers here do not take: it is left out where it changes nothing."""

import inspect
from collections.abc import Mapping
from typing import Any

from torchkeras_fn.engine.drawing.functions import dtype_named

_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "autocast": (True,),
    "experimental_run_tf_function": (True, False),
    "groups": (1,),
    "input_axes": (None,),
    "lora_alpha": (None,),
    "lora_rank": (None,),
    "optional": (False,),
    "output_axes": (None,),
    "quantization_config": (None,),
    "quantization_mode": (None,),
    "ragged": (False, None),
    "renorm": (False,),
    "renorm_clipping": (None, {}),
    "renorm_momentum": (0.99,),
    "sparse": (False, None),
    "synchronized": (False,),
    "time_major": (False,),
    "virtual_batch_size": (None,),
    "zero_output_for_mask": (False,),
}
"""Arguments that layers here lack, and the values of theirs that change nothing."""
POLICIES = ("DTypePolicy", "FloatDTypePolicy", "Policy")
"""The classes that say of which type weights are, and in which a layer computes."""


def changes_nothing(argument: str, value: Any) -> bool:
    """Return whether an argument that layers here lack says no more than they do without it.

    >>> changes_nothing("renorm", False), changes_nothing("renorm", True)
    (True, False)
    """
    return argument in _DEFAULTS and any(value is known or value == known for known in _DEFAULTS[argument])


def dtype_name(value: Any) -> str | None:
    """Return the dtype of the weights that a dtype, or a policy of dtypes, asks for. Raises `ValueError` for quantized ones.

    >>> dtype_name("mixed_bfloat16"), dtype_name({"class_name": "DTypePolicy", "config": {"name": "float64"}})
    ('float32', 'float64')
    """
    if isinstance(value, Mapping):
        if value.get("class_name") not in POLICIES:
            raise ValueError(f"weights of {value.get('class_name')!r:.80} are not read here; save the model in float32 first.")
        value = value["config"]["name"]
    if value is None:
        return None
    name = "float32" if str(value).startswith("mixed_") else str(value)
    dtype_named(name)
    return name


def arguments_of(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a class of layers takes, of a configuration that was written here or by Keras 3.

    >>> from torchkeras_fn.layers import Dense
    >>> policy = {"class_name": "DTypePolicy", "config": {"name": "float64"}}
    >>> arguments_of(Dense, {"units": 2, "quantization_config": None, "dtype": policy})
    {'units': 2, 'dtype': 'float64'}
    """
    useless = {name for name, value in config.items() if changes_nothing(name, value)}
    if useless:
        made_by = (vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base))
        useless -= {name for constructor in made_by for name in inspect.signature(constructor).parameters}
    kept = {name: value for name, value in config.items() if name not in useless}
    return {**kept, "dtype": dtype_name(kept["dtype"])} if isinstance(kept.get("dtype"), Mapping) else kept
