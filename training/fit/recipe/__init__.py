"""How a net is fine-tuned: recipes and learning rates."""
