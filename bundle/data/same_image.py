"""Whether two images show the same pixels, whatever their gray scale and orientation, or nearly so.

An image is kept as a sketch of 384 bytes. Its *detail* is 64 sums of all pixels with random signs (a count sketch:
Charikar, Chen and Farach-Colton 2002): the distance of two of them is that of the images, pixel by pixel, whatever
was rounded. Its *thumbnail* is 16 x 16 means without their smooth trend, so that one lamp does not make images alike;
it hardly changes when a few rows are cropped.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

#: mean squared difference of standardised pixels up to which two images are the same; unrelated ones have 2
SAME = 1e-3
#: correlation of thumbnails from which two images are nearly the same
NEARLY = 0.95

#: between the sketches of the channels of one image; no character of base64
BETWEEN = ":"

_SUMS, _SIDE = 64, 16
#: stored as whole numbers of these fractions: int16, int8
_DETAIL_UNIT, _THUMBNAIL_UNIT = 1e-3, 1 / 24
_LENGTH = 2 * _SUMS + _SIDE**2


class Likeness(NamedTuple):
    """The image of ``known`` that one is most alike, and whether it is the same (else nearly)."""

    name: str
    same: bool
    correlation: float  # of the thumbnails


class Sketch(NamedTuple):
    """An image in its eight orientations, the one it lies in first: ``detail`` (8, 64), ``thumbnail`` (8, 256)."""

    detail: np.ndarray
    thumbnail: np.ndarray

    def text(self) -> str:
        """The first orientation, for a file: 512 characters of base64."""
        detail = np.clip(np.rint(self.detail[0] / _DETAIL_UNIT), -32767, 32767).astype("<i2")
        thumbnail = np.clip(np.rint(self.thumbnail[0] / _THUMBNAIL_UNIT), -127, 127).astype("i1")
        return base64.b64encode(detail.tobytes() + thumbnail.tobytes()).decode()


def sketch_of(image: np.ndarray) -> Sketch | None:
    """Reduce an image to what tells it from others.

    Args:
        image: (x, y, ...), finite numbers; what follows the first two axes is not turned.

    Returns:
        its sketch; None where it is of a single gray value, or smaller than 8 x 8.
    """
    if image.ndim < 2 or min(image.shape[:2]) < 8:
        return None
    standard = _standardised(image)
    if standard is None:
        return None
    coarse = _thumbnail(standard.reshape(*standard.shape[:2], -1).mean(axis=2))
    turned = [oriented(each) for each in (standard, coarse)]
    signs = _signs(standard.size)
    detail = np.stack([_signed_sums(each, signs) for each in turned[0]])
    return Sketch(detail, np.stack([each.ravel() for each in turned[1]]))


def most_alike(image: Sketch, known: Mapping[str, str]) -> Likeness | None:
    """The same image among ``known`` (name -> :meth:`Sketch.text`), else the most alike one; None if none is alike.

    A text may be several, divided by :data:`BETWEEN`, one for each channel: any of them counts.

    Raises:
        ValueError: for a text that is no sketch.
    """
    if not known:
        return None
    parts = [(name, part) for name, text in known.items() for part in text.split(BETWEEN)]
    names, (detail, thumbnail) = [name for name, _ in parts], _read(tuple(part for _, part in parts))
    # an inverted gray scale is a linear one, too: the sign of a product does not count
    products = 2 * np.abs(image.detail @ detail.T)
    squares = (image.detail**2).sum(axis=1)[:, None] + (detail**2).sum(axis=1) - products
    correlation = np.abs(image.thumbnail @ thumbnail.T).max(axis=0) / _SIDE**2
    distance = squares.min(axis=0) / _SUMS
    closest, nearest = int(distance.argmin()), int(correlation.argmax())
    if distance[closest] <= SAME:
        return Likeness(names[closest], True, 1.0)
    return Likeness(names[nearest], False, float(correlation[nearest])) if correlation[nearest] >= NEARLY else None


def most_alike_of(sketches: Iterable[Sketch], known: Mapping[str, str]) -> Likeness | None:
    """The best that :func:`most_alike` finds for one of several sketches, such as those of the channels of an image."""
    found = [like for sketch in sketches if (like := most_alike(sketch, known)) is not None]
    return max(found, key=lambda like: (like.same, like.correlation), default=None)


@lru_cache(maxsize=4)
def _read(texts: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Details (N, 64) and thumbnails (N, 256)."""
    content = b"".join(map(_bytes, texts))
    rows = np.frombuffer(content, np.uint8).reshape(len(texts), _LENGTH)
    detail = np.ascontiguousarray(rows[:, : 2 * _SUMS]).view("<i2") * _DETAIL_UNIT
    return detail, _unit(np.ascontiguousarray(rows[:, 2 * _SUMS :]).view("i1").astype(float))


def _bytes(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{text[:40]!r} is no sketch of an image: it is no base64") from error
    if len(content) != _LENGTH:
        raise ValueError(f"{text[:40]!r} is no sketch of an image: {len(content)} bytes instead of {_LENGTH}")
    return content


def _standardised(image: np.ndarray) -> np.ndarray | None:
    """Zero mean and unit variance, a percent at both ends clipped: one hot pixel must not make images alike."""
    gray: np.ndarray = image.astype(np.float64 if image.dtype.itemsize > 4 else np.float32)
    low, high = (float(edge) for edge in np.quantile(np.asarray(gray, float), [0.01, 0.99]))
    if low == high:
        low, high = float(gray.min()), float(gray.max())
    if low == high:
        return None
    gray = ((np.clip(gray, low, high) - low) / (high - low)).astype(np.float32)
    gray -= gray.mean(dtype=np.float64)
    gray /= np.float32(np.sqrt(np.square(gray).mean(dtype=np.float64)))
    return gray


def oriented(image: np.ndarray) -> list[np.ndarray]:
    """An image (x, y, ...) as it is, mirrored along y, along x, along both; and these four with x and y exchanged."""
    return [turned[::x, ::y] for turned in (image, image.swapaxes(0, 1)) for x in (1, -1) for y in (1, -1)]


@lru_cache(maxsize=2)
def _signs(count: int) -> np.ndarray:
    """The stream of RandomState is the same in every version of numpy."""
    bits = np.unpackbits(np.frombuffer(np.random.RandomState(2015).bytes(-(-count // 8)), np.uint8), count=count)
    return np.where(bits == 1, np.int8(1), np.int8(-1))


def _signed_sums(image: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """64 sums of about unit variance; pixel n is in sum n mod 64."""
    products = np.zeros(-(-image.size // _SUMS) * _SUMS, np.float32)
    np.multiply(image.ravel(), signs, out=products[: image.size])
    return np.asarray(products.reshape(-1, _SUMS).sum(axis=0, dtype=np.float64) * np.sqrt(_SUMS / image.size))


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """16 x 16 means less the best polynomial of degree 4; 0 where nothing is left, which is like nothing."""
    across, along = (_means(side) for side in image.shape)
    means = across @ image @ along.T
    x = np.linspace(-1, 1, _SIDE)
    terms = np.stack([np.outer(x**i, x**j).ravel() for i in range(5) for j in range(5 - i)], axis=1)
    rest = means.ravel() - terms @ np.linalg.lstsq(terms, means.ravel(), rcond=None)[0]
    left = _unit(rest[None]) if rest.std() > 1e-3 else np.zeros_like(rest)
    return left.reshape(_SIDE, _SIDE)


def _means(side: int) -> np.ndarray:
    """(16, side) weights of exact means over 16 equal parts of ``side`` pixels."""
    edges, start = np.linspace(0, side, _SIDE + 1), np.arange(side)
    overlap = np.minimum(edges[1:, None], start + 1) - np.maximum(edges[:-1, None], start)
    return np.asarray(np.clip(overlap, 0, None) * (_SIDE / side))


def _unit(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1))
