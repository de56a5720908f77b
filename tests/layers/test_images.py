"""Layers over images: what is random, by whose generator, for each image, in training alone, and what is refused."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Sequential, layers

IMAGES = torch.rand(64, 6, 8, 3, generator=torch.Generator().manual_seed(0))
RANDOM = {
    "flip": lambda seed=None: layers.RandomFlip(seed=seed),
    "rotation": lambda seed=None: layers.RandomRotation(0.2, seed=seed),
    "zoom": lambda seed=None: layers.RandomZoom(0.2, 0.3, "wrap", seed=seed),
    "translation": lambda seed=None: layers.RandomTranslation(0.3, 0.3, "constant", "nearest", seed=seed),
    "contrast": lambda seed=None: layers.RandomContrast(0.5, (0, 1), seed=seed),
    "brightness": lambda seed=None: layers.RandomBrightness(0.3, (0, 1), seed=seed),
    "crop": lambda seed=None: layers.RandomCrop(3, 4, seed=seed),
}


@pytest.mark.parametrize("name", RANDOM)
def test_each_image_is_disturbed_by_itself_in_training(name):
    same = IMAGES[:1].expand(64, -1, -1, -1)
    outputs = RANDOM[name](seed=1)(same)
    assert len(outputs.flatten(1).unique(dim=0)) > 3
    assert outputs.min() >= 0 and outputs.max() <= 1


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_repeats_and_moves_no_other_generator(name):
    before = torch.get_rng_state()
    first, second, third = RANDOM[name](3)(IMAGES), RANDOM[name](3)(IMAGES), RANDOM[name](4)(IMAGES)
    assert torch.equal(first, second) and not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", RANDOM)
def test_channels_first_is_the_same(name):
    layer = RANDOM[name](3)
    config = {**layer.get_config(), "data_format": "channels_first"}
    outputs = type(layer).from_config(config)(IMAGES.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(outputs, layer(IMAGES))


@pytest.mark.parametrize("name", RANDOM)
def test_models_disturb_in_fit_and_not_in_predict(name):
    x = Input((6, 8, 3))
    model = Model(x, layers.Dense(1)(layers.Flatten()(RANDOM[name]()(x))))
    model.compile("sgd", "mse")
    model.fit(IMAGES, torch.ones(64, 1), epochs=2, verbose=0)
    same = np.repeat(IMAGES[:1].numpy(), 5, 0)
    assert len(np.unique(model.predict(same, verbose=0).round(4))) == 1


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("batch", [0, 1])
def test_one_image_and_none(name, batch):
    assert RANDOM[name]()(IMAGES[:batch]).shape[0] == batch
    assert RANDOM[name]()(IMAGES[0].numpy()).ndim == 3


def test_bytes_are_disturbed_as_floats_and_resized_as_bytes():
    pixels = (IMAGES * 255).to(torch.uint8)
    assert layers.RandomBrightness(0.1)(pixels).dtype is torch.float32
    assert layers.Resizing(3, 3)(pixels).dtype is torch.uint8
    stack = Sequential([layers.Input((None, None, 3), dtype="uint8"), layers.Resizing(3, 3), layers.Rescaling(1 / 255)])
    assert stack.predict(pixels.numpy(), verbose=0).shape == (64, 3, 3, 3)


def test_flips_are_of_one_half_each_way():
    image = torch.arange(4.0).view(1, 2, 2, 1).expand(2000, -1, -1, -1)
    counts = layers.RandomFlip(seed=0)(image).flatten(1).unique(dim=0, return_counts=True)[1]
    assert counts.tolist() == pytest.approx([500] * 4, abs=80)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_images_keep_their_precision(name, dtype):
    assert RANDOM[name]()(IMAGES.to(dtype)).dtype is dtype


@pytest.mark.parametrize("name", RANDOM)
def test_places_are_as_exact_in_mixed_precision(name):
    wide = torch.rand(2, 40, 700, 1, generator=torch.Generator().manual_seed(1))
    expected = RANDOM[name](3)(wide)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(RANDOM[name](3)(wide), expected)


@pytest.mark.parametrize("name", ["flip", "translation", "crop"])
def test_places_are_as_exact_in_images_of_16_bits(name):
    wide = torch.arange(700.0).remainder(256).expand(2, 40, 700).unsqueeze(-1)  # whole numbers, which 16 bits hold
    assert torch.equal(RANDOM[name](3)(wide.bfloat16()).float(), RANDOM[name](3)(wide))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RandomFlip("sideways"), "'mode' must be"),
        (lambda: layers.RandomRotation(2), "'factor' must be a number from -1 to 1, or two, got 2"),
        (lambda: layers.RandomRotation([0.1, 0.2, 0.3]), "'factor' must be"),
        (lambda: layers.RandomZoom((-1, 0)), "a factor must be above -1"),
        (lambda: layers.RandomZoom(0.1, fill_mode="mirror"), "'fill_mode' must be"),
        (lambda: layers.RandomContrast(-0.1), "'factor' must be a number from 0 to 1"),
        (lambda: layers.RandomBrightness(0.1, 255), "'value_range' must be two numbers"),
        (lambda: layers.Resizing(0, 2), "'height' must be"),
        (lambda: layers.Resizing(2, 2, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "Only one of"),
        (lambda: layers.CenterCrop(2, 2)(Input((4, 4))), r"CenterCrop cannot be built .* expected 4 dimensions"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
