"""The house rules of DESIGN.md, read off the source: who imports whom, and what `import torchkeras_fn` may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import torchkeras_fn

PACKAGE = Path(torchkeras_fn.__file__).parent
ROOT = PACKAGE.parent
SOURCES = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in sorted(PACKAGE.rglob("*.py"))}
SOURCES = {name.removesuffix(".__init__"): path for name, path in SOURCES.items()}

# From the ground up. A module imports only from its own floor and those below it.
FLOORS = [
    ["absent", "arguments", "config", "configurable", "numpy_arrays", "portion", "random_seeds", "registry", "shards"],
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
OPTIONAL = {"h5py", "pandas", "torchmetrics", "tensorboard", "torchvision", "matplotlib", "scipy", "sklearn", "ipywidgets"}
OPTIONAL |= {"onnx", "onnxscript", "pydot", "IPython"}
COMPILER = {"torchkeras_fn.engine.replay": "torch._inductor."}  # takes a second to import, and few programs compile


def imports(path):
    """Every import of a file: (module imported, whether it is inside a function)."""
    tree = ast.parse(path.read_text())
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                full = f"{module}.{alias.name}"
                yield full if full in SOURCES or full.startswith("torch.") else module, id(node) in inside


def floor(module):
    room = module.removeprefix("torchkeras_fn").lstrip(".").split(".")[0]
    return next((level for level, rooms in enumerate(FLOORS) if room in rooms), None)


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_has_a_floor(name):
    assert floor(name) is not None, f"say in FLOORS where {name} belongs"


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_imports_from_its_floor_and_below(name):
    ours = [module for module, _ in imports(SOURCES[name]) if module.startswith("torchkeras_fn")]
    assert [module for module in ours if floor(module) > floor(name)] == []


@pytest.mark.parametrize("name", SOURCES)
def test_imports_inside_functions_are_of_extras_only(name):
    inner = {module.removeprefix("torch.utils.") for module, inside in imports(SOURCES[name]) if inside}  # torch.utils.tensorboard
    inner = {module for module in inner if not module.startswith(COMPILER.get(name, "\n"))}
    assert {module.split(".")[0] for module in inner} <= OPTIONAL


@pytest.mark.parametrize("name", SOURCES)
def test_run_time_needs_torch_numpy_and_tqdm_alone(name):
    needed = {module.split(".")[0] for module, inside in imports(SOURCES[name]) if not inside}
    assert needed - sys.stdlib_module_names <= {"torch", "numpy", "tqdm", "torchkeras_fn"}


def test_the_lowering_alone_imports_fx():
    """But for `naming`, which asks what names a graph module takes, and for `compile(jit_compile=True)`: `tracing` turns a training
    step into a graph, which `replay` hands to torch's compiler."""
    users = [name for name, path in SOURCES.items() if any(module.split(".")[:2] == ["torch", "fx"] for module, _ in imports(path))]
    assert users == [f"torchkeras_fn.engine.{name}" for name in ("lowering", "naming", "replay", "tracing")]


def test_the_drawing_knows_no_lowering():
    below = {"torchkeras_fn.engine.inference", "torchkeras_fn.config"}
    ours = {module for module, _ in imports(SOURCES["torchkeras_fn.engine.symbolic"]) if module.startswith("torchkeras_fn")}
    assert ours <= below | {"torchkeras_fn"}


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


@pytest.mark.parametrize(
    "heavy", ["torch._dynamo", "torch._inductor", "sympy", "keras", "pandas", "matplotlib", "h5py", "sklearn", "IPython"]
)
def test_importing_the_library_leaves_heavy_modules_out(heavy, loaded):
    assert heavy not in loaded


@pytest.mark.parametrize("setting", ["enable", "disable"])
def test_importing_the_library_leaves_the_garbage_collector_as_it_was(setting):
    program = f"import gc; gc.{setting}(); import torchkeras_fn; print(gc.isenabled())"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(setting == "enable")


@pytest.fixture(scope="module")
def loaded():
    program = "import sys, torchkeras_fn; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_says_what_it_is_for(name):
    source = SOURCES[name].read_text()
    assert ast.get_docstring(ast.parse(source))


def public_definitions():
    for name, path in SOURCES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
                yield f"{name}.{node.name}", node


@pytest.mark.parametrize(("name", "node"), [pytest.param(name, node, id=name) for name, node in public_definitions()])
def test_public_things_say_what_they_do(name, node):
    assert ast.get_docstring(node), name


def test_public_names_are_there():
    for module in (torchkeras_fn, torchkeras_fn.layers, torchkeras_fn.utils, torchkeras_fn.models):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_nothing_is_asserted_at_run_time():
    users = [name for name, path in SOURCES.items() if any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text())))]
    assert users == []
