"""The 2015 U-Net as a MONAI bundle: geometry, network, overlap-tile inference, data, engines, tracking."""
