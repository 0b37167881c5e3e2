"""``python -m bundle.large.convert brain.nii.gz brain.ome.zarr``: a volume as a store that is read part by part.

Packed NIfTI and MetaImage can only be read from the first slice to the last: they are converted once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

from tqdm import tqdm

from bundle.atomic import replacing
from bundle.data.errors import ImageError
from bundle.data.spacing import stated_spacing
from bundle.data.stores.streams import slices_in_order
from bundle.large.markers import Markers
from bundle.large.pyramid import build_pyramid
from bundle.large.result_store import Layout, new_group, write_levels

#: px of a chunk along x and y, and slices of one; px of what is in memory at a time
_SIDE, _SLICES, _PIXELS = 256, 16, 2**25


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], ome_zarr: str = "0.5") -> Path:
    """Write a volume as OME-Zarr with a pyramid; it appears whole, or not at all.

    Args:
        source: NIfTI or MetaImage, packed or not; it is read once, some slices at a time.
        target: the store.
        ome_zarr: its version, "0.5" or "0.4".

    Raises:
        ImageError: for a file that is damaged or of another kind, and where there is no room.
        ValueError: for another version, or a target that is there.
    """
    path, target = Path(source), Path(target)
    if ome_zarr not in ("0.4", "0.5"):
        raise ValueError(f"ome_zarr must be 0.5 or 0.4, got {ome_zarr!r}")
    if not target.name.endswith(".zarr"):
        raise ValueError(f"the name of a store ends with .zarr, got {target.name!r}: {target.name}.ome.zarr would do")
    if target.exists():
        raise ValueError(f"{target} is there already: remove it, or choose another name")
    image = slices_in_order(path)
    needed = prod(image.size) * image.channels * image.dtype.itemsize * 4 // 3
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise ImageError(path, f"its store takes up to {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free")
    flat = image.size[2] == 1
    size = image.size[:2] if flat else image.size
    spacing = stated_spacing(path)
    chunks = (_SIDE, _SIDE) if flat else (_SIDE, _SIDE, _SLICES)
    names = tuple(f"channel {number}" for number in range(image.channels)) if image.channels > 1 else ()
    layout = Layout(
        size, "" if flat else "z", None if spacing is None else tuple(spacing[: len(size)]), chunks, "", ome_zarr, names
    )
    with replacing(target) as part, tempfile.TemporaryDirectory() as folder:
        group = new_group(part, ome_zarr)
        write_levels(group, layout, str(image.dtype), path.name, shift=True, classes=len(names))
        levels = [group[str(number)] for number in range(len(layout.sizes))]
        at = 0
        # whole chunks at a time, where they fit
        count = max(1, min(_PIXELS // (image.size[0] * image.size[1]) // _SLICES * _SLICES, image.size[2]))
        for some in tqdm(image.parts(count), total=-(-image.size[2] // count), unit="part", disable=None):
            stored = some if names else some[0]
            stop = at + some.shape[1]
            if flat:
                levels[0][...] = stored[..., 0, :, :]
            else:
                levels[0][..., at:stop, :, :] = stored
            at = stop
        build_pyramid(levels, Markers(Path(folder), "pyramid"), mean=True)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bundle.large.convert", description="Write a NIfTI or MetaImage volume as OME-Zarr, once."
    )
    parser.add_argument("source", help=".nii, .nii.gz, .mha or .mhd")
    parser.add_argument("target", help="the store, NAME.ome.zarr")
    parser.add_argument("--ome_zarr", default="0.5", help="version, 0.5 or 0.4 (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        print(convert(options.source, options.target, options.ome_zarr))
    except (ValueError, RuntimeError, OSError) as error:  # ImageError is a ValueError
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
