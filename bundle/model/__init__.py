"""A trained network on disk: its weights, its card, and how it is built from them."""

from bundle.model.trained_network import TrainedNetwork

__all__ = ["TrainedNetwork"]
