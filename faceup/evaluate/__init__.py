"""Error rates, intervals and comparisons from run folders alone: `faceup evaluate` and its Python face, `evaluate`."""
