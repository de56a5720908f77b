"""`EinsumDense`: a dense layer whose axes are named by an equation."""

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn import initializers
from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight

_FORMS = (
    re.compile(r"(?P<inputs>[a-zA-Z]+),(?P<kernel>[a-zA-Z]+)->(?P<outputs>[a-zA-Z]+)"),
    re.compile(r"(?P<left>\.\.\.)(?P<inputs>[a-zA-Z]+),(?P<kernel>[a-zA-Z]+)->\.\.\.(?P<outputs>[a-zA-Z]+)"),
    re.compile(r"(?P<inputs>[a-zA-Z]{2,})(?P<right>\.\.\.),(?P<kernel>[a-zA-Z]+)->(?P<outputs>[a-zA-Z]+)\.\.\."),
)


class EinsumDense(Layer):
    """`activation(einsum(equation, inputs, kernel) + bias)`: a dense layer over whichever axes the equation names.

    The equation is `'abc,cd->abd'`, `'...x,xy->...y'` or `'ab...,bc->ac...'`. `output_shape` is that of the output without the
    batch and without the axes that stand behind the dots; `None` where it is the input's. `bias_axes` are the letters of the
    outputs along which there is a bias. Weights: `kernel`, of the sizes of its letters, and `bias`.

    >>> import torch
    >>> EinsumDense("abc,cde->abde", output_shape=(None, 2, 4), bias_axes="de")(torch.ones(3, 5, 8)).shape
    torch.Size([3, 5, 2, 4])
    """

    weight_map = {"kernel": Weight("kernel"), "bias": Weight("bias")}
    needs_floats = True

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        form = next((found for found in (form.fullmatch(str(equation)) for form in _FORMS) if found), None)
        if form is None:
            raise ValueError(f"'equation' must be like 'ab,bc->ac', '...a,ab->...b' or 'ab...,bc->ac...', got {equation!r}.")
        self.equation = equation
        parts = form.groupdict()
        self._letters: tuple[str, str, str] = (parts["inputs"], parts["kernel"], parts["outputs"])
        self._dots = "left" if parts.get("left") else "right" if parts.get("right") else ""
        given = output_shape if isinstance(output_shape, (list, tuple)) else [output_shape]
        self.partial_output_shape = tuple(size if size is None else positive_integer(size, "output_shape") for size in given)
        if bias_axes is not None and (not isinstance(bias_axes, str) or not bias_axes or not set(bias_axes) <= set(parts["outputs"])):
            raise ValueError(f"'bias_axes' must be letters of the outputs {parts['outputs']!r}, got {bias_axes!r}.")
        self.bias_axes = bias_axes
        self.set_activation(activation)
        self.describe_weights(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint), bias=(bias_initializer, bias_regularizer, bias_constraint)
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the product for the sizes of the axes."""
        inputs, kernel, outputs = self._letters
        sizes, behind_dots = self._sizes(input_shape)
        shape = [sizes.get(letter) for letter in kernel]
        if None in shape:
            letter = kernel[shape.index(None)]
            raise ValueError(f"the size of {letter!r} in {self.equation!r} must be known: by the input, or by output_shape")
        bias = None
        if self.bias_axes is not None:
            after = outputs[min(map(outputs.find, self.bias_axes)) :]
            bias = [sizes.get(letter) if letter in self.bias_axes else 1 for letter in after]
            if None in bias:
                raise ValueError(f"the size of {after[bias.index(None)]!r} in {self.equation!r}, where there is a bias, must be known")
            bias += [1] * (behind_dots if self._dots == "right" else 0)
        reads = [axis for axis, letter in enumerate(kernel) if letter not in outputs]
        writes = [axis for axis, letter in enumerate(kernel) if letter in outputs]
        options = self._weight_options["kernel"]
        self._weight_options["kernel"] = options._replace(initializer=counting_by(options.initializer, reads, writes))
        return Einsum(self.equation, shape, bias)

    def _sizes(self, input_shape: Any) -> tuple[dict[str, Any], int]:
        """The sizes of the letters, `None` where unknown, and how many axes stand behind the dots. Raises where they do not fit."""
        inputs, kernel, outputs = self._letters
        if isinstance(input_shape, list):
            raise ValueError("expected one input, got a list of them")
        behind_dots = len(input_shape) - len(inputs)
        if behind_dots < 0 or behind_dots > 0 and not self._dots:
            raise ValueError(f"the inputs of {self.equation!r} have {len(inputs)} axes, the batch included, got {len(input_shape)}")
        first = behind_dots if self._dots == "left" else 0
        sizes = dict(zip(inputs, input_shape[first:], strict=False))
        given = list(self.partial_output_shape)
        if not (self._dots == "left" and behind_dots):
            given = [input_shape[0], *given]
        if len(given) != len(outputs):
            raise ValueError(
                f"output_shape has {len(self.partial_output_shape)} sizes, but the outputs of {self.equation!r} have "
                f"{len(outputs) - len(given) + len(self.partial_output_shape)} that it has to name"
            )
        for letter, size in zip(outputs, given, strict=True):
            if letter not in inputs and letter not in kernel:
                raise ValueError(f"{letter!r} of the outputs of {self.equation!r} is neither in the inputs nor in the kernel")
            known = sizes.get(letter)
            if None not in (size, known) and size != known:
                raise ValueError(f"the size of {letter!r} in {self.equation!r} is {known} in the input, but {size} in output_shape")
            sizes[letter] = known if size is None else size
        unknown = [letter for letter in kernel if letter not in sizes]
        if unknown:
            raise ValueError(f"{unknown[0]!r} of the kernel of {self.equation!r} is neither in the inputs nor in the outputs")
        return sizes, behind_dots


class Einsum(nn.Module):
    """`torch.einsum(equation, inputs, kernel) + bias`.

    >>> Einsum("ab,bc->ac", (3, 4), (4,))(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(self, equation: str, kernel: Sequence[Any], bias: Sequence[Any] | None):
        super().__init__()
        self.equation = equation
        self.kernel = nn.Parameter(torch.zeros(*kernel))
        self.bias = None if bias is None else nn.Parameter(torch.zeros(*bias))

    def extra_repr(self) -> str:
        """Return the equation, for printing."""
        return f"{self.equation!r}, bias={self.bias is not None}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply and add up."""
        outputs = torch.einsum(self.equation, inputs, self.kernel)
        return outputs if self.bias is None else outputs + self.bias


def counting_by(initializer: Any, input_axes: Sequence[int], output_axes: Sequence[int]) -> Any:
    """Return an initializer that scales by numbers of inputs and outputs as one that counts them along these axes of the weight.

    One that was told its axes already, or does not count, is returned as it is.

    >>> counting_by(initializers.get("glorot_uniform"), [0], [1, 2]).get_config()["output_axes"]
    [1, 2]
    """
    if not isinstance(initializer, initializers.VarianceScaling) or None not in (initializer.input_axes, initializer.output_axes):
        return initializer
    counting = copy.copy(initializer)
    counting.input_axes, counting.output_axes = list(input_axes), list(output_axes)
    counting._arguments = (counting._arguments[0], {**counting._arguments[1], "input_axes": input_axes, "output_axes": output_axes})
    return counting
