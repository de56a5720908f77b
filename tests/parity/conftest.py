"""The real Keras runs on torch in these tests: it reads its backend from the environment when first imported."""

import os

# Set here, before pytest imports a test module of this folder, since Keras cannot change its backend later.
os.environ["KERAS_BACKEND"] = "torch"
