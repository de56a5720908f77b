"""What a model returns, and what is counted of it: losses and metrics for each output, and an epoch's figures."""
