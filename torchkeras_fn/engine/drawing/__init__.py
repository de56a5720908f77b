"""How a call is drawn: what comes into it, and what comes out of it, told without data."""
