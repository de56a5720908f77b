"""Files to try the reading on: good ones taken apart and put together again, with checksums that agree, or not."""

import io
import json
import zipfile
import zlib

from torchkeras_fn import Sequential, layers, models


def small_model():
    model = Sequential([layers.Dense(2, name="a", input_shape=(2,)), layers.Dense(1, name="b")])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def file_of(model):
    model.save(file := io.BytesIO())
    return file.getvalue()


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def forged(members, config=None, seal=True, **options):
    """A zip of these members, whose configuration says that they belong together, as a forger would see to."""
    members = dict(members)
    described = json.loads(members["config.json"]) if config is None else config
    if seal and isinstance(described, dict):
        described = {**described, "members": {name: zlib.crc32(data) for name, data in members.items() if name != "config.json"}}
    members["config.json"] = json.dumps(described).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def load(data, *args, **kwargs):
    return models.load_model(io.BytesIO(data), *args, **kwargs)
