"""The 2015 U-Net as a MONAI bundle: geometry, network, overlap-tile inference, data, engines, tracking."""

import os

# torch reads it when it makes its first tensor: large ones lie on huge pages, where the system has them
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
