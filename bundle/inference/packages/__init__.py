"""A trained network as a package of bioimage.io, for ilastik, BiaPy, Fiji and QuPath, checked before it is written."""

from bundle.inference.packages.package import Package

__all__ = ["Package"]
