"""How a model's bytes come in: staged, checked, published in one step."""
