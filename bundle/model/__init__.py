"""A trained network on disk: its weights, its card, and how it is built from them."""
