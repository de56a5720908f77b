"""What `Trainer` is made of: what is prepared, whose steps are taken, who is told, and how a run is resumed."""
