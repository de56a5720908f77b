"""`Registry`: names in all spellings, configs, custom objects, and errors with the nearest name."""

import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import Input, Model, activations, layers, registry
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.registry import (
    Registry,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from torchkeras_fn.utils import CustomObjectScope


def blend(x):
    return x


class DeepBlue(Configurable):
    def __init__(self, depth=1):
        self.depth = depth


COLOURS = Registry("colour", {"red": print, "light_green": len, "deep_blue": DeepBlue}, aliases={"crimson": "red"})


@pytest.mark.parametrize("name", ["light_green", "LightGreen", "light-green", "LIGHT_GREEN", "lightgreen"])
def test_any_spelling_is_found(name):
    assert COLOURS.get(name) is len


def test_an_alias_is_the_entry():
    assert COLOURS.get("Crimson") is print


@pytest.mark.parametrize(
    "identifier", ["deep_blue", DeepBlue, {"class_name": "DeepBlue"}, {"class_name": "DeepBlue", "config": {"depth": 1}}]
)
def test_a_class_is_made_an_object(identifier):
    found = COLOURS.get(identifier)
    assert (type(found), found.depth) == (DeepBlue, 1)


@pytest.mark.parametrize("identifier", [print, blend, lambda x: x])
def test_a_callable_is_given_back(identifier):
    assert COLOURS.get(identifier) is identifier


def test_a_function_is_found_by_what_serialize_keras_object_says_of_it():
    assert COLOURS.get({"module": "builtins", "class_name": "function", "config": "light_green", "registered_name": None}) is len


def test_none_stays_none():
    assert COLOURS.get(None) is None


@pytest.mark.parametrize(
    ("name", "nearest"), [("rad", "red"), ("crimsen", "crimson"), ("deepblu", "deep_blue"), ("LightGren", "light_green")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"Unknown colour '{name}'. Did you mean '{nearest}'"):
        COLOURS.get(name)


def test_a_name_near_to_none_is_answered_with_all():
    with pytest.raises(ValueError, match="Unknown colour 'xxxxxx'. Known are: deep_blue, light_green, red"):
        COLOURS.get("xxxxxx")


def test_a_name_near_to_none_of_very_many_is_told_where_ones_own_go():
    many = Registry("number", {f"n{index}": print for index in range(200)})
    with pytest.raises(ValueError, match="none of the 200 that are known. Your own is passed in custom_objects={'MyLayer': ...}"):
        many.find("MyLayer")
    with pytest.raises(ValueError, match="Did you mean 'n199'. Your own is passed in custom_objects={'n1999': ...}"):
        many.find("n1999")


def test_a_part_of_several_names_is_answered_with_all_of_them():
    with pytest.raises(ValueError, match="Unknown activation 'one'. Did you mean 'left_one' or 'right_one'"):
        Registry("activation", {"right_one": print, "left_one": print, "two": print}).find("one")


def test_a_kind_that_begins_with_a_vowel_has_its_article():
    with pytest.raises(ValueError, match="the name of an activation, a config"):
        Registry("activation", {}).get(3)


@pytest.mark.parametrize("identifier", [3, 2.5, ["red"], object()])
def test_what_is_no_identifier_is_shown(identifier):
    with pytest.raises(
        ValueError, match=f"Expected the name of a colour, a config, or a callable; got .* of type {type(identifier).__name__}"
    ):
        COLOURS.get(identifier)


@pytest.mark.parametrize("config", [{}, {"config": {}}, {"class_name": 3}])
def test_a_config_without_a_class_name_is_shown(config):
    with pytest.raises(ValueError, match="A colour config needs a 'class_name'"):
        COLOURS.deserialize(config)


# ---------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (None, None),
        ("red", "red"),
        (print, "red"),
        (blend, "blend"),
        (DeepBlue, "deep_blue"),
        (DeepBlue(3), {"class_name": "DeepBlue", "config": {"depth": 3}}),
    ],
)
def test_what_is_written(item, expected):
    assert COLOURS.serialize(item) == expected


@pytest.mark.parametrize("item", [print, len, DeepBlue(2)])
def test_what_is_written_is_read_back(item):
    again = COLOURS.deserialize(COLOURS.serialize(item))
    assert again is item or again.depth == item.depth


def test_a_function_that_would_be_read_as_another_is_not_written():
    with pytest.raises(ValueError, match="cannot be written to a config as 'leaky_relu': that is the name of another activation"):
        activations.serialize(F.leaky_relu)


@pytest.mark.parametrize(("function", "name"), [(F.elu, "elu"), (torch.tanh, "tanh"), (F.silu, "silu"), (F.hardswish, "hard_silu")])
def test_a_function_of_torch_that_is_the_entry_is_written_by_its_name(function, name):
    assert activations.serialize(function) == name
    assert torch.equal(activations.get(name)(torch.arange(-3.0, 3.0)), function(torch.arange(-3.0, 3.0)))


def test_an_object_without_a_name_is_not_written():
    with pytest.raises(ValueError, match=r"cannot be written to a config: it has neither get_config\(\) nor a name"):
        COLOURS.serialize(object())


# ---------------------------------------------------------------------- custom objects


def test_custom_objects_are_found_inside_the_scope_only():
    with custom_object_scope({"blend": blend}):
        assert COLOURS.get("blend") is blend
    with pytest.raises(ValueError, match="Unknown colour 'blend'"):
        COLOURS.get("blend")


def test_a_scope_takes_several_dicts():
    with custom_object_scope({"blend": blend, "two": blend}, {"two": len}):
        assert (COLOURS.get("blend"), COLOURS.get("two")) == (blend, len)
    with pytest.raises(ValueError, match="Unknown colour 'two'"):
        COLOURS.get("two")


@pytest.mark.parametrize("objects", [DeepBlue, [DeepBlue], "DeepBlue"])
def test_a_scope_takes_dicts_only(objects):
    with pytest.raises(TypeError, match="Expected a dict from names to classes or functions"), custom_object_scope(objects):
        pass


def test_custom_objects_come_before_the_entries():
    with custom_object_scope({"red": blend}):
        assert COLOURS.get("red") is blend


def test_custom_objects_may_be_given_to_deserialize():
    assert COLOURS.deserialize("blend", custom_objects={"blend": blend}) is blend
    assert COLOURS.deserialize({"class_name": "Mine"}, custom_objects={"Mine": DeepBlue}).depth == 1


def test_scopes_nest_and_end_after_an_error():
    with custom_object_scope({"one": blend}):
        with pytest.raises(KeyError), custom_object_scope({"two": len}):
            assert COLOURS.get("one") is blend
            raise KeyError
        assert COLOURS.get("one") is blend
        with pytest.raises(ValueError, match="Unknown colour 'two'"):
            COLOURS.get("two")


def test_custom_objects_are_suggested():
    with custom_object_scope({"turquoise": blend}), pytest.raises(ValueError, match="Did you mean 'turquoise'"):
        COLOURS.get("turquois")


def test_a_custom_object_is_written_by_its_name_in_the_scope():
    with custom_object_scope({"red": blend}):
        assert COLOURS.serialize(blend) == "red"


def test_the_scope_is_where_keras_users_look_for_it():
    assert CustomObjectScope is custom_object_scope


# ---------------------------------------------------------------------- registered objects


@pytest.fixture
def registered():
    """Forget afterwards what a test registers."""
    names, objects = dict(registry._registered_names), dict(get_custom_objects())
    yield
    for known, before in ((registry._registered_names, names), (get_custom_objects(), objects)):
        known.clear()
        known.update(before)


def test_a_registered_function_is_found_and_written(registered):
    assert register_keras_serializable(package="mine")(blend) is blend
    assert get_registered_name(blend) == COLOURS.serialize(blend) == "mine>blend"
    assert get_registered_object("mine>blend") is COLOURS.get("mine>blend") is COLOURS.get("blend") is blend


def test_a_registered_class_is_found_and_written(registered):
    @register_keras_serializable(name="sea")
    class Sea(DeepBlue):
        pass

    written = COLOURS.serialize(Sea(3))
    assert written["class_name"] == "Custom>sea"
    assert (type(COLOURS.deserialize(written)), COLOURS.deserialize(written).depth) == (Sea, 3)


def test_what_is_built_in_comes_before_what_is_registered_under_its_name_in_a_package(registered):
    register_keras_serializable(package="mine", name="red")(blend)
    assert COLOURS.get("red") is print
    assert COLOURS.get("mine>red") is blend


def test_a_registered_layer_is_read_with_its_model(registered):
    @register_keras_serializable(package="mine")
    class Dense(layers.Layer):  # the name of another layer
        def call(self, inputs):
            return 2 * inputs

    x = Input(shape=(2,))
    model = Model(x, layers.Dense(2)(Dense()(x)))
    kinds = [type(layer) for layer in Model.from_config(model.get_config()).layers]
    assert kinds[1:] == [Dense, layers.Dense]


def test_a_name_is_registered_once_but_for_the_same_thing_defined_anew(registered):
    for _ in range(2):

        @register_keras_serializable()
        def shade(x):
            return x

    with pytest.raises(ValueError, match="'Custom>shade' is taken"):
        register_keras_serializable(name="shade")(blend)


def test_a_class_needs_a_config(registered):
    with pytest.raises(ValueError, match="Registry cannot be registered: it has no get_config"):
        register_keras_serializable()(Registry)


def test_custom_objects_may_be_added_for_good(registered):
    get_custom_objects()["blend"] = blend
    assert COLOURS.get("blend") is blend


def test_what_is_registered_in_a_scope_outlives_it(registered):
    with custom_object_scope({"one": len}):
        register_keras_serializable()(blend)
    assert COLOURS.get("blend") is blend
    assert "one" not in get_custom_objects()


def test_a_private_function_is_not_taken_for_the_entry_of_nearly_its_name():
    def _leaky_relu(x):
        return torch.where(x > 0, x, 0.5 * x)

    assert activations.serialize(_leaky_relu) == "_leaky_relu"
    assert activations.deserialize("_leaky_relu", custom_objects={"_leaky_relu": _leaky_relu}) is _leaky_relu
    with pytest.raises(ValueError, match="Unknown activation '_leaky_relu'. Did you mean 'leaky_relu'?"):
        activations.get("_leaky_relu")


def test_a_decorator_without_its_parentheses_says_so():
    with pytest.raises(TypeError, match="'package' must be a text.* has parentheses: @register_keras_serializable()"):
        register_keras_serializable(DeepBlue)


def test_an_object_is_not_registered():
    with pytest.raises(TypeError, match="Classes and functions are registered, got .* of type DeepBlue"):
        register_keras_serializable()(DeepBlue())
