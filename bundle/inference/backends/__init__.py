"""What computes the network at inference: torch itself, torch.compile, ONNX Runtime or OpenVINO."""

from bundle.inference.backends.choice import Predictors, choose_backend
from bundle.inference.backends.network import BackendNetwork, prepare_network
from bundle.inference.backends.runtimes import BACKENDS

__all__ = ["BACKENDS", "BackendNetwork", "Predictors", "choose_backend", "prepare_network"]
