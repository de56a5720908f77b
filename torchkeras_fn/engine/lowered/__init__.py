"""What becomes of a graph: torch modules, layouts, casts, and functions without frames in between."""
