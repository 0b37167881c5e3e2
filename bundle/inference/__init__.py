"""A network applied to images: overlap-tile, test-time augmentation, tile cost, precision, backends, uncertainty."""
