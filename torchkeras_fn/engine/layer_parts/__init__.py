"""What every `Layer` has and does: how it is made, built and called, and its weights."""
