"""The summary table: totals, rows, connections."""

import re

import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential
from torchkeras_fn.layers import Add, BatchNormalization, Dense, Dropout, Embedding, TorchModuleWrapper


def text(model, **arguments):
    lines = []
    model.summary(print_fn=lines.append, **arguments)
    return "\n".join(lines)


def totals(model):
    return tuple(int(number.replace(",", "")) for number in re.findall(r"params: ([\d,]+)", text(model)))


def row(model, name):
    return next(line for line in text(model).splitlines() if line.startswith(f"{name} "))


def chain():
    x = Input(shape=(784,), name="pixels")
    return Model(x, Dense(10, name="digit")(Dropout(0.2, name="drop")(Dense(128, name="hidden")(x))))


def branches():
    a, b = Input(shape=(3,), name="a"), Input(shape=(3,), name="b")
    shared = Dense(4, name="shared")
    return Model([a, b], Add(name="sum")([shared(a), shared(b)]))


def test_a_chain_is_printed_as_a_table(capsys):
    chain().summary()
    expected = [
        "__________________________________________________________________",
        "Layer (type)                  Output Shape              Param #",
        "==================================================================",
        "pixels (InputLayer)           (None, 784)               0",
        "hidden (Dense)                (None, 128)               100,480",
        "drop (Dropout)                (None, 128)               0",
        "digit (Dense)                 (None, 10)                1,290",
        "==================================================================",
        "Total params: 101,770",
        "Trainable params: 101,770",
        "Non-trainable params: 0",
    ]
    assert capsys.readouterr().out.splitlines()[1:] == expected


def test_shared_weights_are_counted_once():
    assert totals(branches()) == (16, 16, 0)


def test_the_second_call_of_a_layer_says_shared():
    rows = [line for line in text(branches()).splitlines() if line.startswith("shared ")]
    assert [("16" in line, "shared " in line[10:]) for line in rows] == [(True, False), (False, True)]


def test_connections_are_shown_where_the_graph_branches():
    shown = text(branches())
    assert "Connected to" in shown
    assert row(branches(), "sum").endswith("shared, shared")


def test_connections_are_left_out_of_a_chain():
    assert "Connected to" not in text(chain())


def test_moving_statistics_and_frozen_layers_are_not_trainable():
    x = Input(shape=(3,))
    model = Model(x, Dense(2, trainable=False)(BatchNormalization()(x)))
    assert totals(model) == (20, 6, 14)


def test_weights_without_a_regular_layer_are_counted():
    x = Input(shape=(3,))
    model = Model(x, TorchModuleWrapper(nn.Linear(3, 2))(x) * nn.Parameter(torch.ones(2)))
    assert totals(model) == (10, 10, 0)


def test_functions_have_rows_of_their_own():
    x = Input(shape=(3,))
    model = Model(x, torch.relu(Dense(2)(x)))
    assert row(model, "relu").split() == ["relu", "(function)", "(None,", "2)", "0"]


def test_nested_models_are_one_row():
    x = Input(shape=(784,))
    model = Model(x, Dense(1)(chain()(x)))
    shown = text(model)
    assert "(Model)" in shown
    assert "hidden" not in shown
    assert totals(model)[0] == 101_770 + 11


def test_unknown_sizes_read_none():
    i = Input(shape=(None,), name="words")
    assert "(None, None, 8)" in text(Model(i, Embedding(10, 8)(i)))


def test_a_stack_is_printed_without_its_input():
    shown = text(Sequential([Dense(2, input_shape=(3,), name="only")]))
    assert "only (Dense)" in shown
    assert "InputLayer" not in shown


def test_a_subclass_lists_its_layers():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.hidden = Dense(4, name="hidden")

        def call(self, inputs):
            return self.hidden(inputs)

    model = Net()
    model(torch.ones(1, 3))
    assert "16" in row(model, "hidden")
    assert totals(model) == (16, 16, 0)


def test_what_is_not_built_says_so():
    with pytest.raises(ValueError, match="is not built yet: its shapes are unknown. Give an input shape, or fit it"):
        Sequential([Dense(2)]).summary()


def test_the_line_length_is_obeyed():
    assert {len(line) for line in text(chain(), line_length=80).splitlines() if set(line) <= set("_=")} == {80}


def test_the_columns_end_where_told():
    shown = text(chain(), line_length=100, positions=[0.5, 0.8, 1.0])
    header = next(line for line in shown.splitlines() if line.startswith("Layer (type)"))
    assert (header.index("Output Shape"), header.index("Param #")) == (50, 80)


def test_positions_for_more_columns_than_there_are_are_taken():
    model = chain()
    assert text(model, positions=[0.5, 0.8, 0.9, 1.0]) == text(model, positions=[0.5, 0.8, 0.9])


def test_fewer_positions_than_columns_are_refused():
    with pytest.raises(ValueError, match=r"each of the 3 columns \['Layer \(type\)', .*got \[0.5, 1.0\]"):
        text(chain(), positions=[0.5, 1.0])


def test_long_names_stay_in_their_column():
    x = Input(shape=(3,))
    model = Model(x, Dense(2, name="a_name_that_is_much_longer_than_its_column_can_be")(x))
    assert "(None, 2)" in text(model)
    assert all(len(line) <= 66 for line in text(model).splitlines())


def around(inner):
    x = Input(shape=(3,), name="x")
    return Model(x, Dense(1, name="last")(inner(x)))


def test_the_layers_of_nested_models_are_printed_where_asked_for():
    inner = Sequential([Dense(4, name="inside", input_shape=(3,))], name="inner")
    first_words = [line.split()[0] for line in text(around(inner), expand_nested=True).splitlines()]
    assert first_words[first_words.index("inner") + 1] == "inside"
    assert "inside" not in text(around(inner))


def test_what_is_trained_is_printed_where_asked_for():
    frozen = Dense(4, name="frozen", trainable=False)
    shown = {line.split()[0]: line.split()[-1] for line in text(around(frozen), show_trainable=True).splitlines()}
    assert (shown["Layer"], shown["x"], shown["frozen"], shown["last"]) == ("Trainable", "-", "N", "Y")


# ---------------------------------------------------------------------- modules of torch


def foreign():
    return Model.from_module(nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))))


def test_a_torch_module_has_a_row_for_each_part():
    rows = [line.split() for line in text(foreign()).splitlines() if line[:1].isdigit()]
    assert rows == [["0", "(Linear)", "?", "16"], ["1", "(Sequential)", "?", "10"]]
    assert totals(foreign()) == (26, 26, 0)


def test_parts_of_parts_are_printed_where_asked_for():
    assert re.search(r"1 \(Sequential\).*\n  0 \(ReLU\).*\n  1 \(Linear\) .* 10\n", text(foreign(), expand_nested=True))


def test_a_subclass_lists_its_torch_modules_among_its_layers():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 4)
            self.hidden = Dense(5, name="hidden")
            self.frozen = nn.Linear(5, 2).requires_grad_(False)
            self.tied = nn.ModuleList([self.frozen, nn.Identity()])

        def call(self, inputs):
            return self.frozen(self.hidden(self.first(inputs)))

    model = Net()
    model(torch.ones(1, 3))
    shown = {line.split()[0]: line.split()[3:] for line in text(model, show_trainable=True).splitlines() if "(" in line}
    assert shown == {
        "Layer": ["Shape", "Param", "#", "Trainable"],
        "first": ["16", "Y"],
        "hidden": ["25", "Y"],
        "frozen": ["12", "N"],
        "tied": ["12", "N"],
    }
