"""Images that are read part by part: OME-Zarr, and TIFF of any size.

Zarr is imported where a store is opened: the rest of the bundle works without it (``pip install -e ".[large]"``).
"""

from bundle.data.stores.lazy_image import LazyImage
from bundle.data.stores.levels import advice_to_convert, open_lazily
from bundle.data.stores.ome_zarr import is_store, store_name, stores_in

__all__ = ["LazyImage", "advice_to_convert", "is_store", "open_lazily", "store_name", "stores_in"]
