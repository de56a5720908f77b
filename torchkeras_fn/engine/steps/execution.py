"""`Execution`: how `compile` wants the steps to be run: compiled or not, in which precision, on how many processes."""

from dataclasses import asdict, dataclass
from typing import Any

from torchkeras_fn.arguments import positive_integer

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DISTRIBUTED = (None, False, True, "ddp", "fsdp")


@dataclass(frozen=True)
class Execution:
    """What `compile` was told of how to run the steps.

    Raises `ValueError` for values that are unknown or do not go together.

    >>> Execution(precision="float16")
    Traceback (most recent call last):
        ...
    ValueError: precision is one of 'float32', 'mixed_bfloat16', 'mixed_float16', got 'float16'.
    """

    jit_compile: bool = False
    precision: str | None = None
    auto_scale_loss: bool = True
    gradient_accumulation_steps: int | None = None
    steps_per_execution: int = 1
    distributed: Any = None
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(map(repr, PRECISIONS))}, got {self.precision!r}.")
        for name in ("jit_compile", "auto_scale_loss"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is True or False, got {getattr(self, name)!r}.")
        if not any(self.distributed is known or self.distributed == known for known in DISTRIBUTED):
            raise ValueError(f"distributed is None, True, False, 'ddp' or 'fsdp', got {self.distributed!r}.")
        if self.gradient_accumulation_steps is not None:
            self._set_count("gradient_accumulation_steps")
        self._set_count("steps_per_execution")

    def _set_count(self, name: str) -> None:
        object.__setattr__(self, name, positive_integer(getattr(self, name), name))  # a plain integer, as files hold it

    @classmethod
    def of(cls, jit_compile: Any, run_eagerly: Any, **options: Any) -> "Execution":
        """Return what the arguments of `compile` say. Keras' `jit_compile='auto'` is no wish, and `run_eagerly` forbids compiling."""
        if jit_compile not in (True, False, None, "auto"):
            raise ValueError(f"jit_compile is True, False or 'auto', got {jit_compile!r}.")
        if jit_compile is True and run_eagerly:
            raise ValueError("jit_compile=True and run_eagerly=True contradict each other: pass one of them.")
        return cls(jit_compile=jit_compile is True, **options)

    @property
    def scales_loss(self) -> bool:
        """Whether the loss is scaled, so that small gradients are not lost in float16."""
        return self.precision == "mixed_float16" and self.auto_scale_loss

    @property
    def differing_settings(self) -> dict[str, Any]:
        """The settings that are not as they are unless asked for, and that change what is computed."""
        usual, named = Execution().settings, ("precision", "auto_scale_loss", "gradient_accumulation_steps")
        return {name: value for name, value in self.settings.items() if name in named and value != usual[name]}

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that belong to a saved model: all but those that say where it runs."""
        return {name: value for name, value in asdict(self).items() if name not in ("distributed", "sync_batchnorm")}
