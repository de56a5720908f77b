"""Files from strangers: every trick is refused with a `ValueError` that names the bad part, and nothing of it is run."""

import io
import json
import stat
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from saving.archives import file_of, forged, load, members_of, small_model
from torchkeras_fn import Input, Model, Sequential, layers
from torchkeras_fn.engine.drawing.functions import find_function, known_functions
from torchkeras_fn.engine.steps.execution import Execution
from torchkeras_fn.saving.tensors import pack, unpack

GOOD = file_of(small_model())
MEMBERS = members_of(GOOD)
CONFIG = json.loads(MEMBERS["config.json"])


def edited(change, member="config.json"):
    """The good file with one member in JSON changed."""
    value = json.loads(MEMBERS[member])
    change(value)
    if member == "config.json":
        return forged(MEMBERS, value)
    return forged({**MEMBERS, member: json.dumps(value).encode()})


def layer(**entry):
    """The good file with the entry of its first layer changed."""
    return edited(lambda config: config["model"]["config"]["layers"][0].update(entry))


def with_model(class_name, config):
    return edited(lambda value: value["model"].update(class_name=class_name, config=config))


def graph(nodes, layers=(), shape=(None, 3), inputs=((0, 0),), outputs=((1, 0),)):
    """The file of a drawn model with these nodes after its input."""
    entry = {"class_name": "InputLayer", "name": "x", "config": {"batch_shape": list(shape), "name": "x"}}
    first = {"layer": "x", "args": [], "kwargs": {}}
    config = {"name": "m", "trainable": True, "layers": [entry, *layers], "nodes": [first, *nodes], "terms": []}
    return with_model("Model", {**config, "inputs": [list(end) for end in inputs], "outputs": [list(end) for end in outputs]})


def call(function, *args, **kwargs):
    return graph([{"function": function, "args": list(args), "kwargs": kwargs}])


X = {"tensor": [0, 0]}
DENSE = {"class_name": "Dense", "name": "d", "config": {"units": 2, "name": "d"}}


def nested(depth):
    value = "[" * depth + "]" * depth
    return forged({**MEMBERS, "compile.json": value.encode()})


def many_inputs():
    entries = [
        {"class_name": "InputLayer", "name": name, "config": {"batch_shape": [size, 10**5], "name": name}}
        for name, size in (("x", 7), ("y", 10**5))
    ]
    nodes = [{"layer": "x", "args": [], "kwargs": {}}, {"layer": "y", "args": [], "kwargs": {}}]
    nodes += [{"function": "torch.matmul", "args": [{"tensor": [0, 0]}, {"tensor": [1, 0]}], "kwargs": {}}]
    config = {"name": "m", "trainable": True, "layers": entries, "nodes": nodes, "terms": []}
    return with_model("Model", {**config, "inputs": [[0, 0], [1, 0]], "outputs": [[2, 0]]})


def doubling():
    """Sizes multiplied with themselves, seventy times over."""
    nodes = [{"function": "torch.Tensor.size", "args": [X, 0], "kwargs": {}}]
    nodes += [{"function": "operator.mul", "args": [{"tensor": [i, 0]}, {"tensor": [i, 0]}], "kwargs": {}} for i in range(1, 70)]
    return graph(nodes, outputs=((69, 0),))


def twice_inside(depth, wrapped=False):
    """A stack that holds another twice, which holds another twice, and so on."""
    entry, own = {**DENSE, "config": {"units": 3, "name": "d"}, "key": 0}, {"trainable": True}
    for level in range(1, depth):
        name, both = f"s{level}", [entry, {**entry, "config": {}}]  # of one key the first is made
        entry = {"class_name": "Sequential", "name": name, "config": {**own, "name": name, "layers": both}, "key": level}
        if wrapped:
            entry = {"class_name": "TimeDistributed", "name": f"t{level}", "config": {"name": f"t{level}", "layer": entry}, "key": -level}
    return with_model("Sequential", {**own, "name": "s", "layers": [entry, {**entry, "config": {}}]})


CONFIGURATIONS = {
    "a module in the config": layer(class_name="os.system", module="os", registered_name="system", config={"command": "touch pwned"}),
    "a module beside a known class": layer(class_name="system", module="os"),
    "a builtin": layer(class_name="builtins.exec", module="builtins", config={"source": "1"}),
    "a dotted path": with_model("torch.nn.Linear", {"in_features": 1, "out_features": 1}),
    "a class that is no model": with_model("Dense", {"units": 1}),
    "Lambda bytecode of Keras 2": layer(class_name="Lambda", config={"function": ["4wEAAAAAAAAA", None, None], "function_type": "lambda"}),
    "Lambda bytecode of Keras 3": layer(
        class_name="Lambda", config={"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAAAAAAA", "defaults": None}}}
    ),
    "a function by name": layer(class_name="Lambda", config={"function": {"$function": "eval"}, "name": "a"}),
    "a function of torch that is none": layer(class_name="Lambda", config={"function": {"$function": "torch.load"}, "name": "a"}),
    "a function by module": layer(class_name="Lambda", config={"function": {"$function": "os.system"}, "name": "a"}),
    "a module to wrap": layer(class_name="TorchModuleWrapper", config={"module": {"$module": "Popen", "layer": "subprocess"}}),
    "a torch class": layer(class_name="Activation", config={"activation": {"$torch": "Module", "arguments": {}}}),
    "a mark that is none": layer(config={"units": {"$import": "os"}}),
    "an activation from elsewhere": layer(config={"units": 2, "activation": "os.system"}),
    "an initializer from elsewhere": layer(
        config={"units": 2, "kernel_initializer": {"class_name": "os.system", "config": {"command": "ls"}}}
    ),
    "torch.load as a function": call("torch.load", X),
    "a dunder": call("torch.Tensor.__reduce_ex__", X, 2),
    "state": call("torch.Tensor.__setstate__", X, [1]),
    "apply_": call("torch.Tensor.apply_", X, {"dtype": "load"}),
    "a dtype that is a function": call("torch.add", X, {"dtype": "load"}),
    "a dtype of a constant": call("torch.add", X, {"constant": [1.0], "dtype": "load"}),
    "a private property": call("getattr", X, "__class__"),
    "storage": call("torch.Tensor.untyped_storage", X),
    "set_": call("torch.Tensor.set_", X, {"constant": [1.0], "dtype": "float32"}),
    "resize_": call("torch.Tensor.resize_", X, [10**12]),
    "an argument that is code": graph(
        [{"layer": "d", "args": [X], "kwargs": {"a=1) or __import__('os').system('touch pwned')#": 1}}], [DENSE], outputs=((1, 0),)
    ),
    "a function without a tensor": call("operator.pow", 10, 10**10),
    "a list multiplied": call("operator.mul", [1, 2, 3], {"tensor": [0, 0]}),
    "a power of sizes": graph(
        [
            {"function": "torch.Tensor.size", "args": [X, 0], "kwargs": {}},
            {"function": "operator.pow", "args": [{"tensor": [1, 0]}, 10**9], "kwargs": {}},
        ],
        outputs=((2, 0),),
    ),
    "sizes multiplied without end": doubling(),
    "a reference out of the graph": call("torch.relu", {"tensor": [7, 0]}),
    "a reference that is none": call("torch.relu", {"tensor": ["a"]}),
    "a huge layer": layer(config={"units": 10**12, "name": "a"}),
    "a huge input": graph([{"layer": "d", "args": [X], "kwargs": {}}], [DENSE], shape=(None, 10**12)),
    "a huge batch": many_inputs(),
    "a huge table": graph(
        [{"layer": "e", "args": [X], "kwargs": {}}],
        [{"class_name": "Embedding", "name": "e", "config": {"input_dim": 10**12, "output_dim": 10**3, "name": "e"}}],
    ),
    "a huge normalization": graph(
        [{"layer": "n", "args": [X], "kwargs": {}}],
        [{"class_name": "BatchNormalization", "name": "n", "config": {"name": "n"}}],
        shape=(None, 10**10),
    ),
    "a huge constant": call("torch.Tensor.new_zeros", X, [10**6, 10**6]),
    "a huge constant on a device": call("torch.Tensor.new_ones", X, [10**6, 10**6], device="cpu"),
    "very many pieces": graph([{"function": "torch.unbind", "args": [X, 1], "kwargs": {}}], shape=(None, 10**9)),
    "very many sections": graph([{"function": "torch.tensor_split", "args": [X, 10**8, 1], "kwargs": {}}], shape=(None, 10**9)),
    "very many differences": graph([{"function": "torch.diff", "args": [X, 10**9], "kwargs": {}}], shape=(None, 2 * 10**9)),
    "a loop without end": graph([{"function": "torch.svd_lowrank", "args": [X], "kwargs": {"niter": 10**12}}], shape=(None, 3)),
    "very many layers": edited(
        lambda value: value["model"]["config"].update(
            layers=[{"class_name": "Dense", "name": f"d{i}", "config": {"units": 3000, "name": f"d{i}"}} for i in range(100)]
        )
    ),
    "units that are text": layer(config={"units": "2; import os"}),
    "units that are true": layer(config={"units": True}),
    "no layers": edited(lambda value: value["model"]["config"].pop("layers")),
    "no model": edited(lambda value: value.pop("model")),
    "a model that is a list": edited(lambda value: value.update(model=[])),
    "a later version": edited(lambda value: value.update(version=2)),
    "another format": edited(lambda value: value.update(format="keras")),
    "a frozen weight that is none": edited(lambda value: value["model"].update(frozen=["nothing"])),
    "a shape for a layer that is none": edited(lambda value: value["model"].update(built={"nothing": [None, 2]})),
    "no table": forged(MEMBERS, []),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_hostile_configuration_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json cannot be used"):
        load(CONFIGURATIONS[name])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        'a", open("pwned", "w")) #',
        "a' + open('pwned', 'w').name + '",
        "a\n        open('pwned', 'w')\n",
        'b"]; open("pwned", "w"); x=["',
        "²",
        "a\\",
    ],
)
def test_the_name_of_a_layer_is_no_code(name, tmp_path, monkeypatch):
    """torch.fx writes the names of modules into Python source, between quotes."""
    monkeypatch.chdir(tmp_path)
    x = Input(shape=(2,), name=name + "in")
    inner = Model(x, layers.Dense(2, name=name)(x), name=name + "m")
    y = Input(shape=(2,), name=name + "y")
    model = Model(y, layers.Dense(1, name=name + "out")(inner(y)))
    model.compile("sgd", "mse")
    twin = load(file_of(model))
    twin.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    twin.predict(np.ones((2, 2)))
    assert list(tmp_path.iterdir()) == []


def test_nothing_in_the_file_switches_safety_off():
    for key in ("safe_mode", "enable_unsafe_deserialization", "custom_objects"):
        data = edited(lambda value, key=key: (value.update({key: False}), value["model"].update({key: False, "class_name": "os.system"})))
        with pytest.raises(ValueError, match="config.json"):
            load(data, safe_mode=False)


def test_what_is_refused_is_refused_before_it_is_allocated(tmp_path):
    names = ["a huge layer", "a huge batch", "a huge constant", "a huge normalization", "very many pieces", "very many layers"]
    program = (
        "import resource, sys, torch; from torchkeras_fn import models\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: models.load_model(path)\n"
        "    except ValueError: pass\n"
        "    else: raise SystemExit(path)\n"
        "grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024\n"
        "raise SystemExit(0 if grown < 400 else f'{grown} MiB')\n"
    )
    paths = [tmp_path / str(index) for index in range(len(names))]
    for path, name in zip(paths, names, strict=True):
        path.write_bytes(CONFIGURATIONS[name])
    subprocess.run([sys.executable, "-c", program, *map(str, paths)], check=True, timeout=60)


# ---------------------------------------------------------------------- the functions that a graph may name


@pytest.mark.parametrize(
    "name",
    [
        "torch.load",
        "torch.save",
        "torch.hub.load",
        "torch.from_file",
        "torch.ops.load_library",
        "torch.compile",
        "torch.autocast",
        "torch.Tensor.numpy",
        "torch.Tensor.tolist",
        "torch.Tensor.share_memory_",
        "torch.Tensor.__reduce__",
        "torch.Tensor.__reduce_ex__",
        "torch.Tensor.__setstate__",
        "torch.Tensor.__deepcopy__",
        "torch.Tensor.__array__",
        "torch.Tensor.__dlpack__",
        "torch.Tensor.map_",
        "torch.Tensor.apply_",
        "torch.Tensor.map2_",
        "torch.Tensor.register_hook",
        "torch.Tensor.backward",
        "torch.Tensor.data_ptr",
        "torch.Tensor.set_",
        "torch.Tensor.resize_",
        "torch.Tensor.storage",
        "torch.Tensor.untyped_storage",
        "torch.Tensor.module_load",
        "torch.Tensor.requires_grad_",
        "torch.Tensor.__setitem__",
        "torch.Tensor.__format__",
        "torch.bincount",
        "torch.fbgemm_pack_gemm_matrix_fp16",
        "torch.quantized_lstm_cell",
        "builtins.eval",
        "operator.call",
        "operator.attrgetter",
    ],
)
def test_dangerous_functions_have_no_name(name):
    with pytest.raises(ValueError, match="may name"):
        find_function(name)


def test_no_known_function_is_private_or_reads_by_address():
    for name in known_functions():
        own = name.rpartition(".")[2]
        assert not own.startswith("_") or own.startswith("__"), name
        assert "ptr" not in own and "pickle" not in own and "hook" not in own, name


# ---------------------------------------------------------------------- the training


def state(change):
    value = json.loads(MEMBERS["optimizer.json"])
    change(value)
    return forged({**MEMBERS, "optimizer.json": json.dumps(value).encode()})


def trained_members():
    model = small_model()
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    return members_of(file_of(model))


def with_state_tensors(change):
    """The file of a trained model, with its optimizer's tensors changed: torch's kernels would read past the end of short ones."""
    members = trained_members()
    tensors = unpack(bytearray(members["optimizer.safetensors"]))
    changed = {name: change(name, tensor) for name, tensor in tensors.items()}
    return forged({**members, "optimizer.safetensors": b"".join(pack(changed))})


def in_float16(change, optimizer="adam"):
    """The file of a trained model whose loss was scaled and gradients gathered, with its optimizer's state changed."""
    model = small_model()
    model.compile(optimizer, "mse", precision="mixed_float16", gradient_accumulation_steps=2)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    members = members_of(file_of(model))
    value = json.loads(members["optimizer.json"])
    change(value)
    return forged({**members, "optimizer.json": json.dumps(value).encode()})


EXECUTIONS = {
    **{f"execution {value!r}": value for value in (None, 3, "fast", [1], {"speed": 3}, {"device": "cuda"}, {"distributed": "ddp"})},
    "an unknown precision": {"precision": "mixed_float8"},
    "a precision that is none": {"precision": [1]},
    "gathering that is text": {"gradient_accumulation_steps": "2"},
    "no steps": {"steps_per_execution": 0},
    "scaling that is text": {"auto_scale_loss": "yes"},
    "compiling that is text": {"jit_compile": [True]},
}
SCALES = [{"scale": 1e400, "steps": 0}, {"scale": -1.0, "steps": 0}, {"scale": "1", "steps": 0}, {"scale": 1.0, "steps": 2**80}, {}, [], 3]

TRAININGS = {
    **{
        name: edited(lambda value, execution=execution: value.update(execution=execution), "compile.json")
        for name, execution in EXECUTIONS.items()
    },
    **{f"scale {scale!r:.40}": in_float16(lambda value, scale=scale: value["optimizer"].update(scaling=scale)) for scale in SCALES},
    **{
        f"scale {scale!r:.40} of torch's optimizer": in_float16(
            lambda value, scale=scale: value["around_steps"].update(scaling=scale), torch.optim.Adam
        )
        for scale in SCALES
    },
    "no state around the steps": in_float16(lambda value: value.update(around_steps=3), torch.optim.Adam),
    "half a state around the steps": in_float16(lambda value: value["around_steps"].pop("gathered"), torch.optim.Adam),
    "gathered for other weights": in_float16(lambda value: value["around_steps"]["gathered"]["sums"].pop(), torch.optim.Adam),
    "gathered numbers": in_float16(lambda value: value["around_steps"]["gathered"].update(sums=[1, 2]), torch.optim.Adam),
    "many gathered": in_float16(lambda value: value["around_steps"]["gathered"].update(batches=[1]), torch.optim.Adam),
    "our own many gathered": in_float16(lambda value: value["optimizer"]["gathered"].update(batches="1")),
    "a loss from elsewhere": edited(lambda value: value.update(loss="os.system"), "compile.json"),
    "a loss that is a module": edited(lambda value: value.update(loss={"$module": "os"}), "compile.json"),
    "a loss by class and module": edited(
        lambda value: value.update(loss={"class_name": "system", "module": "os", "config": {}}), "compile.json"
    ),
    "a metric of a huge table": edited(
        lambda value: value.update(metrics=[{"class_name": "AUC", "config": {"num_thresholds": 10**12}}]), "compile.json"
    ),
    "an optimizer from elsewhere": edited(
        lambda value: value.update(optimizer={"class_name": "Popen", "config": {"args": "ls"}}), "compile.json"
    ),
    "a torch optimizer from elsewhere": edited(
        lambda value: value.update(optimizer={"torch_optimizer": "Popen", "groups": []}), "compile.json"
    ),
    "an optimizer that is none": edited(lambda value: value.update(optimizer=5), "compile.json"),
    "no loss": edited(lambda value: value.pop("loss"), "compile.json"),
    "no state": forged({**MEMBERS, "optimizer.json": b"[]"}),
    "deep JSON": nested(100_000),
    "very many lists": forged({**MEMBERS, "compile.json": b"[" + b"[]," * 2**20 + b"[]]"}),
    "other groups": state(lambda value: value["optimizer"].update(param_groups=[])),
    "a group of other weights": state(lambda value: value["optimizer"]["param_groups"][0].update(params=[0, 0, 0, 0])),
    "a rate that is text": state(lambda value: value["optimizer"]["param_groups"][0].update(lr="0.1")),
    "a state of a weight that is none": state(lambda value: value["optimizer"].update(state={"$dict": [[99, {}]]})),
    "a generator where there is none": state(lambda value: value.update(generators={"a": {"$tuple": ["forward", "cpu", [1]]}})),
    "short state": with_state_tensors(lambda name, tensor: tensor.flatten()[:1] if "exp_avg" in name else tensor),
    "scalar state": with_state_tensors(lambda name, tensor: tensor.flatten()[0] if "exp_avg" in name else tensor),
    "empty counts": with_state_tensors(lambda name, tensor: tensor.new_zeros(0) if "step" in name else tensor),
}


def test_a_file_from_before_there_were_such_settings_loads():
    model = load(edited(lambda value: value.pop("execution"), "compile.json"))
    assert model._execution == Execution()


@pytest.mark.parametrize("name", TRAININGS)
def test_a_hostile_training_configuration_is_refused(name):
    with pytest.raises(ValueError, match=r"(compile|optimizer)\.(json|safetensors) cannot be used"):
        load(TRAININGS[name])


# ---------------------------------------------------------------------- tensors


def header(**entries):
    """The good file with a tensor file of this header, and sixteen bytes of data."""
    text = json.dumps(entries).encode()
    return forged({**MEMBERS, "weights.safetensors": struct.pack("<Q", len(text)) + text + bytes(16)})


def tensor(dtype="F32", shape=(4,), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


TENSORS = {
    "more than its data": header(a=tensor(shape=(10**9,))),
    "more than there is": header(a=tensor(shape=(10**9,), offsets=(0, 4 * 10**9))),
    "negative offsets": header(a=tensor(offsets=(-16, 0))),
    "backward offsets": header(a=tensor(offsets=(16, 0))),
    "overlapping": header(a=tensor(), b=tensor()),
    "a hole": header(a=tensor(shape=(1,), offsets=(0, 4)), b=tensor(shape=(1,), offsets=(12, 16))),
    "bytes that are nobody's": header(a=tensor(shape=(2,), offsets=(0, 8))),
    "an unknown dtype": header(a=tensor(dtype="O")),
    "a negative size": header(a=tensor(shape=(-4,))),
    "sizes that overflow": header(a=tensor(shape=(2**32, 2**32, 0), offsets=(0, 16))),
    "sizes of other kinds": header(a=tensor(shape=(4.0,))),
    "very many axes": header(a=tensor(shape=(1,) * 100 + (4,))),
    "no entry": header(a=[]),
    "a header that is too long": forged({**MEMBERS, "weights.safetensors": struct.pack("<Q", 2**60) + b"{}"}),
    "no header": forged({**MEMBERS, "weights.safetensors": b"{}"}),
    "a header that is no JSON": forged({**MEMBERS, "weights.safetensors": struct.pack("<Q", 4) + b"\x80\x02c." + bytes(16)}),
    "a key twice": forged({**MEMBERS, "weights.safetensors": struct.pack("<Q", 14) + b'{"a":1, "a":2}'}),
    "a pickle": forged({**MEMBERS, "weights.safetensors": b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."}),
}


@pytest.mark.parametrize("name", TENSORS)
def test_hostile_tensors_are_refused(name):
    with pytest.raises(ValueError, match=r"weights\.safetensors cannot be used"):
        load(TENSORS[name])


def test_weights_of_another_model_are_refused():
    other = Sequential([layers.Dense(3, name="a", input_shape=(2,)), layers.Dense(1, name="b")])
    alien = members_of(file_of(other))["weights.safetensors"]
    with pytest.raises(ValueError, match=r"'a.weight' of the model has shape \(2, 2\), but that in the file has shape \(3, 2\)"):
        load(forged({**MEMBERS, "weights.safetensors": alien}))
    twin = members_of(file_of(small_model()))["weights.safetensors"]
    with pytest.raises(ValueError, match=r"config\.json.*weights\.safetensors is not the one that was saved with it"):
        load(forged({**MEMBERS, "weights.safetensors": twin}, CONFIG, seal=False))


@pytest.mark.parametrize("wrapped", [False, True])
def test_models_that_hold_each_other_twice_and_so_on_are_refused_for_that(wrapped):
    with pytest.raises(ValueError, match="that it describes has weights"):
        load(twice_inside(3, wrapped))  # the weights of such a model
    with pytest.raises(ValueError, match=r"models inside of others make \d+ calls"):
        load(twice_inside(25, wrapped))


def test_a_truth_value_is_one_bit():
    model = Model(x := Input(shape=(2,)), torch.where(torch.tensor([True, False]), x, -x))
    members = members_of(file_of(model))
    members["constants.safetensors"] = members["constants.safetensors"][:-2] + b"\x07\x00"
    with pytest.raises(ValueError, match="other than 0 and 1"):
        load(forged(members))


# ---------------------------------------------------------------------- the container


def zipped(entries, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def link():
    info = zipfile.ZipInfo("compile.json")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped([*((name, data) for name, data in MEMBERS.items() if name != "compile.json"), (info, b"/etc/passwd")])


def replaced(old, new, count=1):
    changed = GOOD.replace(old, new, count)
    assert changed != GOOD
    return changed


def claimed(size):
    """The good file, whose list of members claims another size for the first."""
    place = GOOD.index(b"PK\1\2")
    return GOOD[: place + 20] + struct.pack("<LL", size, size) + GOOD[place + 28 :]


CONTAINERS = {
    "a path out of the folder": zipped([*MEMBERS.items(), ("../../pwned", b"1")]),
    "an absolute path": zipped([*MEMBERS.items(), ("/tmp/pwned", b"1")]),
    "a path of Windows": zipped([*MEMBERS.items(), ("C:\\pwned", b"1")]),
    "an unknown member": zipped([*MEMBERS.items(), ("assets/vocabulary.txt", b"1")]),
    "code": zipped([*MEMBERS.items(), ("model.py", b"1")]),
    "a link": link(),
    "compression": forged(MEMBERS, compression=zipfile.ZIP_DEFLATED),
    "a zip bomb": forged({**MEMBERS, "compile.json": b"0" * 10**7}, compression=zipfile.ZIP_DEFLATED),
    "a size that is a lie": claimed(2**31),
    "a size that hides bytes": claimed(8),
    "bytes before": b"#!/bin/sh\n" + GOOD,
    "bytes after": GOOD + b"more",
    "a comment": GOOD[:-2] + b"\4\0more",
    "nothing": b"",
    "a text": b"not a zip at all, but long enough to be one" * 3,
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(200),
    "the magic number alone": b"PK\5\6" + bytes(18),
    "another name in the header": replaced(b"weights.safetensors", b"weights.safetensorz"),
    "very many members": zipped([*MEMBERS.items(), *((f"{i}", b"") for i in range(500))]),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_hostile_container_is_refused(name):
    with pytest.raises(ValueError, match="(the zip container|the HDF5 container|config.json) cannot be used"):
        load(CONTAINERS[name])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        load(zipped([*MEMBERS.items(), ("config.json", MEMBERS["config.json"])]))


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_a_member_that_is_not_there_is_named(name):
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load(zipped([(known, data) for known, data in MEMBERS.items() if known != name]))


def test_weights_alone_are_no_model(tmp_path):
    model = small_model()
    model.save_weights(tmp_path / "w")
    with pytest.raises(ValueError, match="'torchkeras_fn weights', where 'torchkeras_fn model' was expected"):
        load((tmp_path / "w").read_bytes())
