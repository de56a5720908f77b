"""`ByHand`: the training view of a model of dense layers with its gradients written out, as one would derive them by hand.

For small layers what autograd notes of each operation, and its way back along these notes, cost more than the arithmetic. Here the
layers run without it. Only the predictions begin a history, that of the loss, whose backward pass leaves its gradients in them;
`back` carries these on to the weights. The kernels are those that autograd calls, so the numbers are the same, bit by bit.
"""

import operator
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn.engine.lowered.flat import Flat, Writer, executed

_KINDS: dict[Any, str] = {
    nn.Linear: "linear",
    nn.Dropout: "dropout",
    nn.ReLU: "relu",
    F.relu: "relu",
    torch.relu: "relu",
    nn.Tanh: "tanh",
    torch.tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid",
    torch.cat: "cat",
    operator.add: "add",
}
"""The modules and functions whose gradients are known here."""

_BY_RESULT = {
    "relu": "threshold_backward({g}, {y}, 0)",
    "tanh": "tanh_backward({g}, {y})",
    "sigmoid": "sigmoid_backward({g}, {y})",
}
"""The gradient of what a function read, by that of its result `y`."""


def dropped(x: torch.Tensor, share: float, training: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what `F.dropout` does, and what the gradient is to be multiplied by, if by anything.

    >>> y, factors = dropped(torch.ones(100), 0.5, True)
    >>> y.unique(), torch.equal(y, factors)
    (tensor([0., 2.]), True)
    """
    if not training or not share:
        return x.detach(), None  # another tensor, for both may be predictions, each with a gradient of its own
    if not x.is_cpu:  # the one kernel that torch has elsewhere, which multiplies numbers of 16 bits in 32
        y, kept = torch.native_dropout(x, share, True)
        return y, kept.to(torch.promote_types(x.dtype, torch.float32)).mul_(1 / (1 - share) if share < 1 else 0)
    factors = torch.empty_like(x).bernoulli_(1 - share).div_(1 - share) if share < 1 else torch.zeros_like(x)
    return x * factors, factors


def _of_aten(name: str) -> Callable[..., torch.Tensor]:
    """A kernel that torch gives no name but this one, past the frame in front of it."""
    kernel = getattr(torch.ops.aten, name).default
    plain: Callable[..., torch.Tensor] = getattr(kernel, "_op", kernel)
    return plain


_FUNCTIONS = {
    **{name: _of_aten(name) for name in ("threshold_backward", "tanh_backward", "sigmoid_backward")},
    **{name: getattr(torch, name) for name in ("mm", "is_grad_enabled", "is_anomaly_enabled")},
    "set_grad_enabled": torch._C._set_grad_enabled,  # without the frames of the context managers
    "is_any_autocast_enabled": torch._C._is_any_autocast_enabled,
    "hooks_on_what_is_saved": getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: None),  # since torch 2.8
    "dropped": dropped,
    "partial": partial,
}


class ByHand:
    """A training `view` that is a `Flat` one, with `run` and `back` for a step in which its weights learn.

    `run` returns what the view does, and last, in place of nothing, what carries the gradients of the predictions back.
    The view itself runs where it has to: without gradients, while somebody has a say in it by a hook on a module, on a weight or on
    what autograd saves, under autocast, where torch looks for anomalies, and once a weight is replaced, transposed, or learns no more.

    >>> from torchkeras_fn.engine.graphs.graph import Graph
    >>> from torchkeras_fn.engine.lowering import lower_for_training
    >>> from torchkeras_fn.layers import Dense, Input
    >>> x, layer = Input(shape=(3,)), Dense(2, activation="relu")
    >>> view = by_hand(Flat(lower_for_training(Graph([x], [layer(x)]), [lambda kind: False]).module))
    >>> print(view.source.partition("def back(saved):")[2].strip())
    v0, v2 = saved
        saved.clear()
        try:
            set_grad_enabled(False)
            g2 = v2.grad
            g1 = threshold_backward(g2, v2, 0)
            g2 = v2 = None
            d = mm(g1.t(), v0)
            if w0.grad is None: w0.grad = d
            else: w0.grad.add_(d)
            d = g1.sum(0)
            if w1.grad is None: w1.grad = d
            else: w1.grad.add_(d)
            g1 = None
        finally:
            set_grad_enabled(True)
    >>> (predictions, *_, back) = view.run(torch.ones(1, 3))
    >>> predictions[0].sum().backward()
    >>> back()
    >>> next(view.module.parameters()).grad.shape
    torch.Size([2, 3])
    """

    def __init__(self, view: Flat, source: str, names: dict[str, Any]):
        self.module, self._view = view.module, view
        self.source, self._names = source, names

    @cached_property
    def run(self) -> Callable[..., Any]:
        """What the view does, with the way back."""
        run: Callable[..., Any] = executed(self.source, f"<by hand {type(self.module).__name__}>", self._names)["run"]
        return run

    def is_watched(self) -> Any:
        """Whether the view gives way now."""
        return self._view.is_watched()


def by_hand(view: Flat) -> "Flat | ByHand":
    """Return a training view with its gradients written out; the view itself, where it has an operation without a rule.

    >>> from torchkeras_fn.engine.graphs.graph import Graph
    >>> from torchkeras_fn.engine.lowering import lower_for_training
    >>> from torchkeras_fn.layers import Conv2D, Input
    >>> x = Input(shape=(8, 8, 1))
    >>> view = Flat(lower_for_training(Graph([x], [Conv2D(2, 3)(x)]), [lambda kind: False]).module)
    >>> by_hand(view) is view
    True
    """
    writer = _Writer(view)
    return ByHand(view, writer.write(), writer.names) if writer.knows_all() else view


class _Writer(Writer):
    """Writes `run` and `back`."""

    def __init__(self, view: Flat):
        super().__init__(view.module)
        self.names |= {"view": view, **_FUNCTIONS}
        self.learning = self.those_that_learn()
        self.kinds = {node: self.kind_of(node) for node in self.learning if node.op != "output"}
        self.weights: dict[int, str] = {}
        self.kept: set[str] = set()
        """The variables that are needed on the way back."""

    # ------------------------------------------------------------------ what is known

    def those_that_learn(self) -> set[Any]:
        """The nodes whose values depend on a weight."""
        found: set[Any] = set()
        for node in self.nodes:
            weights = list(self.module.get_submodule(node.target).parameters()) if node.op == "call_module" else []
            if weights or node.op == "get_attr" or not found.isdisjoint(node.all_input_nodes):
                found.add(node)
        return found

    def knows_all(self) -> bool:
        """Whether there is a rule for every operation that leads from a weight to the predictions, and nothing else to return."""
        *nodes, output = self.nodes
        predictions, masks, terms, figures, _ = output.args[0]
        if any(mask is not None for mask in masks) or terms or figures or not self.learning.issuperset(predictions):
            return False
        return all(self.kinds[node] is not None if node in self.learning else not self.may_write(node) for node in nodes)

    def may_write(self, node: Any) -> bool:
        """Whether an operation may write to what it reads, as `mul_` does: the way back may need that, and autograd would notice."""
        if node.op == "call_module":
            return bool(getattr(self.module.get_submodule(node.target), "inplace", False))
        name = str(getattr(node.target, "__name__", node.target))
        is_called = node.op in ("call_function", "call_method")
        return is_called and (name.endswith("_") or "out" in node.kwargs or bool(node.kwargs.get("inplace")))

    def shape_of(self, node: Any) -> Any:
        """The shape of a value, with `None` for what is not known; empty where nothing is. A sum of several is written in twos."""
        if "shape" not in node.meta and node.target is operator.add:
            return self.shape_of(node.all_input_nodes[0])
        return node.meta.get("shape", ())

    def kind_of(self, node: Any) -> str | None:
        """The name of the rule for an operation, `None` where there is none for it on such tensors."""
        module: Any = self.module.get_submodule(node.target) if node.op == "call_module" else None
        kind = _KINDS.get(node.target if module is None else type(module)) if node.op != "call_method" else None
        shapes = list(map(self.shape_of, node.all_input_nodes))
        if kind == "linear":
            held = module._parameters
            is_plain = held.keys() == {"weight", "bias"} and all(_is_plain(weight) for weight in held.values() if weight is not None)
            return kind if is_plain and len(node.args) == 1 and len(shapes[0]) == 2 else None
        if kind == "cat":
            is_plain = len(node.args) == 2 and node.args[1] in (-1, 1) and not node.kwargs
            return kind if is_plain and all(len(shape) == 2 and shape[1] is not None for shape in shapes) else None
        if kind == "add":
            is_plain = all(read in self.nodes for read in node.args) and not node.kwargs
            return kind if is_plain and len(shapes[0]) == 2 and len(set(shapes)) == 1 and None not in shapes[0][1:] else None
        if kind == "dropout" and not (module.p and module.training) and len(node.args[0].users) > 1:
            return None  # what drops nothing is, to autograd, what it reads: it sums the gradients of both in one order
        is_plain = len(node.args) == 1 and node.kwargs in ({}, {"inplace": False}) and not getattr(module, "inplace", False)
        return kind if is_plain else None

    # ------------------------------------------------------------------ the two functions

    def write(self) -> str:
        self.watch_root()
        *nodes, output = self.nodes
        forward = {}
        for node in nodes:
            self.variables[node] = f"v{len(self.variables)}"
            if node.op != "placeholder":
                forward[node] = self.step(node)
        predictions = output.args[0][0]
        back = self.way_back(dict.fromkeys(predictions))
        dead = self.last_uses()
        for node in forward:
            forget = "".join(f"; {self.variables[used]} = None" for used in dead.get(node, ()) if self.variables[used] not in self.kept)
            forward[node] += forget
        inputs = ", ".join(self.variables[node] for node in nodes if node.op == "placeholder")
        saved = ", ".join(sorted(self.kept, key=lambda name: int(name[1:])))
        lines = [
            f"def run({inputs}):",
            f"    if {' or '.join([*self.reasons_to_leave(), *self.watches])}:",
            f"        return view.run({inputs})",
            *_without_gradients(forward.values()),
            *(f"    {self.variables[node]}.requires_grad_()" for node in dict.fromkeys(predictions)),
            f"    return {', '.join(map(self.expression, output.args[0][:-1]))}, partial(back, [{saved}])",
            "",
            "def back(saved):",
            f"    {saved}{' = ' if ',' in saved else ', = '}saved",
            "    saved.clear()",
            *_without_gradients(back),
        ]
        return "\n".join(lines) + "\n"

    def reasons_to_leave(self) -> list[str]:
        """The conditions under which the view itself runs, beside those of who watches its modules."""
        return [
            *("not is_grad_enabled()", "is_anomaly_enabled()", "is_any_autocast_enabled()", "hooks_on_what_is_saved(True)"),
            *(f"{self.variables[node]}.requires_grad" for node in self.nodes if node.op == "placeholder"),
            *(f"not ({w}.requires_grad and {w}.is_contiguous())" for w in self.weights.values()),
            *(f"{w}._backward_hooks or {w}._post_accumulate_grad_hooks" for w in self.weights.values()),
        ]

    def step(self, node: Any) -> str:
        """The code of an operation."""
        name, code = self.variables[node], self.call(node)
        kind = self.kinds.get(node)
        if kind == "linear":
            code = f"linear({self.expression(node.args[0])}, {', '.join(self.weights_of(node))})"
        if kind == "dropout":
            module = self.module_of(node)
            return f"{name}, n{name[1:]} = dropped({self.expression(node.args[0])}, {module}.p, {module}.training)"
        return f"{name} = {code}"

    def module_of(self, node: Any) -> str:
        return self.modules[id(self.module.get_submodule(node.target))]

    def weights_of(self, node: Any) -> list[str]:
        """The names of the weight and the bias of a linear layer, which are those of now: the view runs where one was replaced."""
        held, found = self.module.get_submodule(node.target)._parameters, []
        for name in ("weight", "bias"):
            weight = held[name]
            found.append("None" if weight is None else self.named(self.weights.setdefault(id(weight), f"w{len(self.weights)}"), weight))
            self.watch(f"p{self.module_of(node)[1:]}[{name!r}] is not {found[-1]}")
        return found

    # ------------------------------------------------------------------ the way back

    def way_back(self, predictions: dict[Any, None]) -> list[str]:
        """The code that carries the gradients of the predictions to the weights, operation by operation, the last one first."""
        self.kept |= {self.variables[node] for node in predictions}
        reached = set(predictions)
        lines = [f"g{self.variables[node][1:]} = {self.variables[node]}.grad" for node in predictions]
        for node in reversed(self.nodes):
            if node not in reached:
                continue
            lines += self.to_weights(node)
            for read, gradient in self.to_inputs(node):
                if read in self.learning:
                    name = f"g{self.variables[read][1:]}"
                    lines.append(f"{name} = {name} + {gradient}" if read in reached else f"{name} = {gradient}")
                    reached.add(read)
            number = self.variables[node][1:]
            lines.append(" = ".join([f"g{number}", *self.kept.intersection((f"v{number}", f"n{number}")), "None"]))
        return lines

    def to_weights(self, node: Any) -> list[str]:
        if self.kinds[node] != "linear":
            return []
        read, g = self.variables[node.args[0]], f"g{self.variables[node][1:]}"
        self.kept.add(read)
        lines = []
        for w, gradient in zip(self.weights_of(node), (f"mm({g}.t(), {read})", f"{g}.sum(0)"), strict=True):
            if w != "None":
                lines += [f"d = {gradient}", f"if {w}.grad is None: {w}.grad = d", f"else: {w}.grad.add_(d)"]
        return lines

    def to_inputs(self, node: Any) -> list[tuple[Any, str]]:
        """What an operation read, and the code of the gradient of each."""
        kind, number = self.kinds[node], self.variables[node][1:]
        g = f"g{number}"
        if kind == "linear":
            w, gradient = self.weights_of(node)[0], "mm({g}, {w})"
            if self.names[w].shape[1] == 1:  # what was read is a column, which may be a row as well: autograd takes it for one
                gradient = "(mm({w}.t(), {g}.t()).t() if len({g}) == 1 else mm({g}, {w}))"
            return [(node.args[0], gradient.format(g=g, w=w))]
        if kind == "add":
            return [(read, g) for read in node.args]
        if kind == "cat":
            ends = [0]
            for read in node.args[0]:
                ends.append(ends[-1] + self.shape_of(read)[1])
            return [
                (read, f"{g}.narrow(1, {start}, {end - start})") for read, start, end in zip(node.args[0], ends[:-1], ends[1:], strict=True)
            ]
        if kind == "dropout":
            self.kept.add(f"n{number}")
            return [(node.args[0], f"({g} if n{number} is None else ({g} * n{number}).to({g}.dtype))")]
        self.kept.add(f"v{number}")
        return [(node.args[0], _BY_RESULT[str(kind)].format(g=g, y=f"v{number}"))]


def _is_plain(weight: Any) -> bool:
    """Whether a weight learns, and autograd takes the kernels for it that are taken here: others for one that is transposed."""
    return type(weight) is nn.Parameter and weight.is_floating_point() and weight.requires_grad and weight.is_contiguous()


def _without_gradients(lines: Iterable[str]) -> list[str]:
    """The code in a block that an interrupt leaves as any error does: there are gradients again."""
    return [
        "    try:",
        *(f"        {line}" for line in ["set_grad_enabled(False)", *lines]),
        "    finally:",
        "        set_grad_enabled(True)",
    ]
