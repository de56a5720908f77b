"""What `seed=` may be given; what is drawn with it is tested with those who draw."""

import pytest

from torchkeras_fn.random_seeds import SeedGenerator, seed_source


def test_a_generator_stays_the_one_it_is():
    generator = SeedGenerator(1)
    assert seed_source(generator) is generator


@pytest.mark.parametrize("config", [{"seed": 3}, {"seed": 3, "name": "noise"}])
def test_a_generator_may_be_its_config_also_as_keras_writes_it(config):
    written = {"module": "keras.random", "class_name": "SeedGenerator", "config": config, "registered_name": None}
    assert seed_source(written).seed == 3


@pytest.mark.parametrize("seed", [0.5, True, "a", {"class_name": "Dense", "config": {}}])
def test_anything_else_is_refused(seed):
    with pytest.raises(ValueError, match="'seed' must be an integer or None"):
        seed_source(seed)
