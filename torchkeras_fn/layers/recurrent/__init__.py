"""Layers that go through a sequence step by step: the cells, what runs them, and torch's fused kernels."""
