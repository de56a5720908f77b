"""Several processes: how they find each other, what they tell each other, and when one fails."""
