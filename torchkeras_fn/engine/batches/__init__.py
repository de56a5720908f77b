"""From what a user passes to batches of tensors, and from tensors to arrays."""
