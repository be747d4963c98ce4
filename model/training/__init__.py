"""How a model comes about: recipes, samples, losses, pre-training, search, and the fit of what inference weighs."""
