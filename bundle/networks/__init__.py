"""Networks. Each carries its own ``geometry``, which says what sizes go in and come out."""

from bundle.networks.dcn import DCN
from bundle.networks.fcn import FCN
from bundle.networks.fpn import FPN
from bundle.networks.multilevel import MultiLevel
from bundle.networks.unet import UNet
from bundle.networks.window_cnn import WindowCNN

__all__ = ["DCN", "FCN", "FPN", "MultiLevel", "UNet", "WindowCNN"]
