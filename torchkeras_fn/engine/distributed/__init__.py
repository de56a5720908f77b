"""One model that several processes train: copies of it, or parts."""
