"""Nests, threads, modes, random states and names of figures: what knows nothing of layers and models."""
