"""The machinery. Each file here is a door, and the folders beside it are what is behind it, from the ground up:

describe: `basics`, `symbolic` with `drawing`, `layer` with `layer_parts`, `graphs`;
lower: `lowering` with `lowered`;
run: `objective` with `outputs`, `data` with `batches`, `steps`, and `trainer` with `trainer_parts`;
where: `device`, and for many processes `processes` and `distributed`.
"""
