"""The real Keras runs on torch in these tests: it reads its backend from the environment when first imported."""

import os
import warnings

import pytest

# Set here, before pytest imports a test module of this folder, since Keras cannot change its backend later.
os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_TORCH_DEVICE"] = "cpu"  # where the models are that it is compared with

collect_ignore = ["programs"]  # they are run by test_programs.py, which says where their imports come from


@pytest.fixture(autouse=True)
def forgive_keras():
    """Let through what Keras' own code is warned about; a warning is an error in our tests."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="__array__ implementation doesn't accept a copy", category=DeprecationWarning)
        yield
