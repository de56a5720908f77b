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
    gradient_accumulation_steps: int | None = None
    steps_per_execution: int = 1
    distributed: Any = None
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(map(repr, PRECISIONS))}, got {self.precision!r}.")
        if not any(self.distributed is known or self.distributed == known for known in DISTRIBUTED):
            raise ValueError(f"distributed is None, True, False, 'ddp' or 'fsdp', got {self.distributed!r}.")
        if self.gradient_accumulation_steps is not None:
            positive_integer(self.gradient_accumulation_steps, "gradient_accumulation_steps")
        positive_integer(self.steps_per_execution, "steps_per_execution")

    @classmethod
    def of(cls, jit_compile: Any, run_eagerly: Any, **options: Any) -> "Execution":
        """Return what the arguments of `compile` say. Keras' `jit_compile='auto'` is no wish, and `run_eagerly` forbids compiling."""
        if jit_compile not in (True, False, None, "auto"):
            raise ValueError(f"jit_compile is True, False or 'auto', got {jit_compile!r}.")
        if jit_compile is True and run_eagerly:
            raise ValueError("jit_compile=True and run_eagerly=True contradict each other: pass one of them.")
        return cls(jit_compile=jit_compile is True, **options)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that belong to a saved model: all but those that say where it runs."""
        return {name: value for name, value in asdict(self).items() if name not in ("distributed", "sync_batchnorm")}
