"""Images larger than memory, block by block: to the bit what the whole image would give.

An image is read in windows, each block of whole tiles is written as soon as it is computed, and what is done is marked
on the disk, so that a job that was killed goes on.
"""

from bundle.large.cluster import executor_of
from bundle.large.images import LargeImages
from bundle.large.sorted_images import SortedImages
from bundle.large.whole_gray import WholeGrayd

__all__ = ["LargeImages", "SortedImages", "WholeGrayd", "executor_of"]
