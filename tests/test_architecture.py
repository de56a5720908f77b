"""The house rules of DESIGN.md, read off the source: who imports whom, and what `import torchkeras_fn` may cost."""

import ast
import gc
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import torchkeras_fn

PACKAGE = Path(torchkeras_fn.__file__).parent
ROOT = PACKAGE.parent
SOURCES = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in sorted(PACKAGE.rglob("*.py"))}
SOURCES = {name.removesuffix(".__init__"): path for name, path in SOURCES.items()}

# From the ground up. A module imports only from its own floor and those below it.
FLOORS = [
    ["absent", "arguments", "config", "configurable", "numpy_arrays", "origin", "portion", "random_seeds", "registry", "shards"],
    ["activations", "alignment", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers"],
    ["engine", "callbacks", "saving"],  # a Trainer saves itself; layers and models are found by their names
    ["ops", "random"],
    ["layers"],
    ["backend"],
    ["utils"],
    ["preprocessing"],
    ["models"],
    ["old_paths"],
    [""],
]
# The rooms of `engine`, with the doors to them: describe, lower, run.
ENGINE = [
    ["device", "basics"],
    ["symbolic", "drawing"],
    ["layer", "layer_parts"],
    ["graphs"],
    ["lowering", "lowered"],
    ["processes"],
    ["objective", "outputs"],
    ["data", "batches"],
    ["steps"],
    ["distributed"],
    ["trainer", "trainer_parts"],
]
OPTIONAL = {"h5py", "pandas", "torchmetrics", "tensorboard", "torchvision", "matplotlib", "scipy", "sklearn", "ipywidgets"}
OPTIONAL |= {"onnx", "onnxscript", "pydot", "IPython"}
DEFINITIONS = (ast.ClassDef, ast.FunctionDef)
COMPILER = {"torchkeras_fn.engine.steps.replay": "torch._inductor."}  # takes a second to import, and few programs compile


def tree(path):
    return ast.parse(path.read_text())


@cache
def imports(path):
    """Every import of a file: (module imported, whether it is inside a function)."""
    found, nodes = [], [(tree(path), False)]
    while nodes:
        node, inside = nodes.pop()
        if isinstance(node, ast.Import):
            found += [(alias.name, inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            full = [f"{module}.{alias.name}" for alias in node.names]
            found += [(name if name in SOURCES or name.startswith("torch.") else module, inside) for name in full]
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        nodes += [(child, inside) for child in ast.iter_child_nodes(node)]
    return found


def floor(module):
    room = module.removeprefix("torchkeras_fn").lstrip(".").split(".")[0]
    return next((level for level, rooms in enumerate(FLOORS) if room in rooms), None)


def test_every_module_has_a_floor():
    assert [name for name in SOURCES if floor(name) is None] == [], "say in FLOORS where they belong"


def test_a_module_imports_from_its_floor_and_below():
    ours = [(name, module) for name, path in SOURCES.items() for module, _ in imports(path) if module.startswith("torchkeras_fn")]
    assert [(name, module) for name, module in ours if floor(module) > floor(name)] == []


def engine_floor(module):
    room = module.removeprefix("torchkeras_fn.engine.").split(".")[0]
    return next((level for level, rooms in enumerate(ENGINE) if room in rooms), None)


def test_data_flows_one_way_through_the_engine():
    prefix = "torchkeras_fn.engine."
    rooms = {name: path for name, path in SOURCES.items() if name.startswith(prefix)}
    assert [name for name in rooms if engine_floor(name) is None] == [], "say in ENGINE where they belong"
    ours = [(name, module) for name, path in rooms.items() for module, _ in imports(path) if module.startswith(prefix)]
    assert [(name, module) for name, module in ours if engine_floor(module) > engine_floor(name)] == []


def test_imports_inside_functions_are_of_extras_only():
    inner = [(name, module) for name, path in SOURCES.items() for module, inside in imports(path) if inside]
    inner = [(name, module) for name, module in inner if not module.startswith(COMPILER.get(name, "\n"))]
    rooms = [(name, module.removeprefix("torch.utils.").split(".")[0]) for name, module in inner]  # torch.utils.tensorboard
    assert [(name, room) for name, room in rooms if room not in OPTIONAL] == []


def test_run_time_needs_torch_numpy_and_tqdm_alone():
    known = sys.stdlib_module_names | {"torch", "numpy", "tqdm", "torchkeras_fn"}
    needed = [(name, module) for name, path in SOURCES.items() for module, inside in imports(path) if not inside]
    assert [(name, module) for name, module in needed if module.split(".")[0] not in known] == []


def test_the_lowering_alone_imports_fx():
    """But for `naming`, which asks what names a graph module takes, and for `compile(jit_compile=True)`: `tracing` turns a training
    step into a graph, which `replay` hands to torch's compiler."""
    users = [name for name, path in SOURCES.items() if any(module.split(".")[:2] == ["torch", "fx"] for module, _ in imports(path))]
    others = ["graphs.naming", "steps.replay", "steps.tracing"]
    assert sorted(users) == [f"torchkeras_fn.engine.{name}" for name in sorted(["lowering", *others])]


def test_there_are_no_circles():
    wanted = {name: {module for module, _ in imports(path) if module in SOURCES and module != name} for name, path in SOURCES.items()}
    packages = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    for name in wanted:  # a package that only gathers names for its users is no room of its own
        wanted[name] -= {package for package in packages if name.startswith(f"{package}.")}
    while wanted:
        free = [name for name, needs in wanted.items() if not needs & wanted.keys()]
        assert free, f"circle among {sorted(wanted)}"
        for name in free:
            del wanted[name]


def test_keras_is_imported_by_the_parity_tests_alone():
    places = [path for folder in (PACKAGE, ROOT / "tests", ROOT / "examples", ROOT / "benchmarks") for path in folder.rglob("*.py")]
    users = {
        path.relative_to(ROOT).parts[:2]
        for path in places
        for module, _ in imports(path)
        if module.split(".")[0] in ("keras", "tensorflow")
    }
    assert users <= {("tests", "parity"), ("benchmarks", "contestants")}


HEAVY = {"torch._dynamo", "torch._inductor", "sympy", "keras", "pandas", "matplotlib", "h5py", "sklearn", "IPython"}


def test_importing_the_library_leaves_heavy_modules_out():
    program = "import sys, torchkeras_fn; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == set()


@pytest.mark.parametrize("setting", ["enable", "disable"])
def test_importing_the_library_leaves_the_garbage_collector_as_it_was(setting):
    try:
        getattr(gc, setting)()
        importlib.reload(torchkeras_fn)
        assert gc.isenabled() == (setting == "enable")
    finally:
        gc.enable()


def test_a_module_says_what_it_is_for():
    assert [name for name, path in SOURCES.items() if not ast.get_docstring(tree(path))] == []


def test_public_things_say_what_they_do():
    definitions = [(name, node) for name, path in SOURCES.items() for node in tree(path).body if isinstance(node, DEFINITIONS)]
    assert [f"{name}.{node.name}" for name, node in definitions if node.name[0] != "_" and not ast.get_docstring(node)] == []


def test_public_names_are_there():
    for module in (torchkeras_fn, torchkeras_fn.layers, torchkeras_fn.utils, torchkeras_fn.models):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_nothing_is_asserted_at_run_time():
    users = [name for name, path in SOURCES.items() if any(isinstance(node, ast.Assert) for node in ast.walk(tree(path)))]
    assert users == []
