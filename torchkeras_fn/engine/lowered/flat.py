"""A lowered model as one flat Python function: torch's kernels on the modules' own parameters, without the frames in between.

Around the kernels of a small model, `nn.Module.__call__` and `__getattr__` are most of the work. The function is written
from the graph module's graph and computes the same, bit by bit but for a `softmax` over few numbers. It gives way to the
graph module while anybody has a say in it: hooks on a module or on all of them, a replaced module, a `forward` of
somebody's own, a parametrization, `module.compile()`.
"""

from collections.abc import Callable
from functools import cached_property
from keyword import iskeyword
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as torch_module

_EXPRESSIONS: dict[type, str] = {
    nn.Linear: "linear({x}, {p}['weight'], {p}['bias'])",
    nn.Dropout: "dropout({x}, {m}.p, {m}.training)",
    nn.ReLU: "relu({x})",
    nn.Sigmoid: "sigmoid({x})",
    nn.Tanh: "tanh({x})",
}
"""What modules of exactly these types compute. Parameters are looked up at each call, for one may be replaced."""


def softmax(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Return the softmax over the last axis, for predictions on the CPU in an eighth of the time where that axis is short.

    Where a register holds more numbers than a row has, torch's kernel takes them one by one. Along another axis it fills
    its registers with many rows. The two differ in the last bit at most.

    >>> softmax(torch.zeros(100, 4))[0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if x.ndim == 2 and x.shape[1] < _REGISTER and x.shape[0] > _FEW_ROWS and dim == -1 and x.is_cpu and not x.requires_grad:
        return torch.softmax(x.t(), 0).t().contiguous()
    return torch.softmax(x, dim)


_REGISTER, _FEW_ROWS = 16, 32
"""So many numbers of 32 bits are in a register of AVX-512; and up to so many rows the detour gains nothing."""

_FUNCTIONS: dict[str, Any] = {
    **{name: getattr(torch, name) for name in ("dropout", "relu", "sigmoid", "tanh")},
    "linear": F.linear,
    "softmax": softmax,
}

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class Flat:
    """A graph `module` as one function, which is `run`; its code is `source`. `is_watched()` says whether it gives way now.

    >>> from torchkeras_fn.engine.graphs.graph import Graph
    >>> from torchkeras_fn.engine.lowering import lower
    >>> from torchkeras_fn.layers import Dense, Input
    >>> x = Input(shape=(3,))
    >>> flat = Flat(lower(Graph([x], [Dense(2, activation="relu")(x)])))
    >>> print("".join(flat.source.splitlines(keepends=True)[6:]).strip())
    v1 = linear(v0, p0['weight'], p0['bias']); v0 = None
        v2 = relu(v1); v1 = None
        return v2
    >>> flat.run(torch.ones(1, 3)).shape
    torch.Size([1, 2])
    """

    def __init__(self, module: Any):
        self.module = module
        writer = Writer(module)
        self.source, self._names = writer.write(), writer.names

    @cached_property
    def _functions(self) -> dict[str, Callable[..., Any]]:
        """What Python compiles of the source when it is first asked for: of a large model that takes a while."""
        return executed(self.source, f"<flat {type(self.module).__name__}>", self._names)

    @cached_property
    def run(self) -> Callable[..., Any]:
        """The function."""
        return self._functions["run"]

    @cached_property
    def is_watched(self) -> Callable[[], Any]:
        """Says whether it gives way now."""
        return self._functions["is_watched"]


def executed(source: str, title: str, names: dict[str, Any]) -> dict[str, Any]:
    """Return the names that code knows, with the functions that it defines; errors in these show its `title`.

    >>> executed("def twice(x): return two * x", "<example>", {"two": 2})["twice"](3)
    6
    """
    exec(compile(source, title, "exec"), names)
    return names


class Writer:
    """Writes the function, and gathers by name what it refers to."""

    def __init__(self, module: Any):
        self.module = module
        self.nodes = list(module.graph.nodes)
        self.names: dict[str, Any] = {"module": module, **_FUNCTIONS}
        self.variables: dict[Any, str] = {}
        self.modules: dict[int, str] = {}
        self.watches: dict[str, None] = {"any(hooks)": None}
        self.hooks: list[Any] = []

    def write(self) -> str:
        self.watch_root()
        dead, lines = self.last_uses(), []
        for node in self.nodes:
            if node.op == "output":
                lines.append(f"return {self.expression(node.args[0])}")
                continue
            self.variables[node] = name = f"v{len(self.variables)}"
            if node.op != "placeholder":
                forget = "".join(f"; {self.variables[used]} = None" for used in dead.get(node, ()))
                lines.append(f"{name} = {self.call(node)}{forget}")
        inputs = ", ".join(self.variables[node] for node in self.nodes if node.op == "placeholder")
        watched = " or ".join(self.watches)
        guard = f"if {watched}:\n        return module({inputs})"
        return "\n    ".join([f"def is_watched():\n    return {watched}\n\ndef run({inputs}):", guard, *lines]) + "\n"

    def last_uses(self) -> dict[Any, list[Any]]:
        """The nodes whose values are needed no more after a node, but for those that are returned."""
        found: dict[Any, list[Any]] = {}
        seen: set[Any] = set()
        for node in reversed(self.nodes):
            for used in node.all_input_nodes:
                if used not in seen and node.op != "output":
                    found.setdefault(node, []).append(used)
                seen.add(used)
        return found

    def named(self, name: str, value: Any) -> str:
        self.names[name] = value
        return name

    def expression(self, value: Any) -> str:
        """The code for an argument: variables, in lists and the like too, and a name for anything that code cannot say."""
        if isinstance(value, type(self.nodes[0])):
            return self.variables[value]
        if isinstance(value, list):
            return f"[{', '.join(map(self.expression, value))}]"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{self.expression(key)}: {self.expression(part)}' for key, part in value.items())}}}"
        if type(value) is tuple:
            return f"({''.join(f'{self.expression(part)}, ' for part in value)})"
        if type(value) is slice:
            return f"slice({', '.join(map(self.expression, (value.start, value.stop, value.step)))})"
        return repr(value) if value is None or type(value) in (bool, int, str) else self.named(f"c{len(self.names)}", value)

    # ------------------------------------------------------------------ calls

    def call(self, node: Any) -> str:
        values = [self.expression(value) for value in node.args]
        values += [f"{name}={self.expression(value)}" for name, value in node.kwargs.items()]
        if node.op == "call_method":
            return f"{values[0]}.{node.target}({', '.join(values[1:])})"
        if node.op == "call_function":
            if node.target is F.relu and node.kwargs in ({}, {"inplace": False}):
                return f"relu({values[0]})"
            if node.target is torch.softmax and node.args[1:] == (-1,) and not node.kwargs:
                return f"softmax({values[0]}, -1)"
            return f"{self.named(f'f{len(self.names)}', node.target)}({', '.join(values)})"
        path, _, name = node.target.rpartition(".")
        holder = self.module.get_submodule(path)
        if node.op == "get_attr":
            holder_name = self.module_named(holder)
            return f"{holder_name}.{name}" if name.isidentifier() and not iskeyword(name) else f"getattr({holder_name}, {name!r})"
        return self.call_module(holder, name, values)

    def module_named(self, module: nn.Module) -> str:
        return self.named(self.modules.setdefault(id(module), f"m{len(self.modules)}"), module)

    def call_module(self, holder: nn.Module, name: str, values: list[str]) -> str:
        module = holder.get_submodule(name)
        m = self.module_named(module)
        if type(module).__call__ is not nn.Module.__call__ or isinstance(module, torch.jit.ScriptModule):
            return f"{m}({', '.join(values)})"
        self.watch_hooks(m, module)
        self.watch(f"{self.named(f'parts_with_{m}', holder._modules)}.get({name!r}) is not {m}")
        template = _EXPRESSIONS.get(type(module))
        if template is None or len(values) != 1 or getattr(module, "inplace", False):
            return f"{m}.forward({', '.join(values)})"
        p = self.named(f"p{m[1:]}", module._parameters)
        self.watch(f"len({p}) != {len(module._parameters)}")
        self.watch(f"{m}.__class__ is not {self.named(type(module).__name__, type(module))}")
        forward = self.named(f"{type(module).__name__}_forward", type(module).forward)
        self.watch(f"{type(module).__name__}.forward is not {forward}")
        return template.format(x=values[0], m=m, p=p)

    # ------------------------------------------------------------------ who else has a say

    def watch(self, condition: str) -> None:
        """Let the graph module run where this is true."""
        self.watches[condition] = None

    def watch_root(self) -> None:
        self.names["hooks"] = self.hooks
        self.hooks += [getattr(torch_module, f"_global{hooks}") for hooks in _HOOKS]
        self.watch_hooks("module", self.module)
        self.names["own_class"], self.names["own_forward"] = type(self.module), type(self.module).forward
        self.watch("own_class.forward is not own_forward")

    def watch_hooks(self, m: str, module: nn.Module) -> None:
        self.hooks += [getattr(module, hooks) for hooks in _HOOKS]
        self.watch(f"{m}._compiled_call_impl")
        self.watch(f"'forward' in {self.named(f'{m}_attributes', module.__dict__)}")
