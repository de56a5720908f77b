"""The machinery: describe (symbolic, layer, graph), lower (lowering), run (data, objective, trainer, device)."""
