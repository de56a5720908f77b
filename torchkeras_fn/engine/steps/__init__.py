"""How a step runs: eagerly, compiled or recorded; in which precision, mode and way."""
