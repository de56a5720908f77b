"""Comparison with the real Keras; a package, since its files share their names with those of the tests beside it."""
