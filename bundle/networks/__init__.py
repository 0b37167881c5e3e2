"""Networks. Each carries its own ``geometry``, which says what sizes go in and come out."""

from bundle.networks.unet import UNet

__all__ = ["UNet"]
