"""The graph between the inputs and the outputs of a model: its order, its names, and how it is written down."""
