"""What every random deformation shares: the window, the affine part, the fold policy, the keys of a sample."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends, ensure_tuple_rep

from bundle.geometry import isotropic_plane
from transforms.geometry.displacement import smallest_jacobian
from transforms.geometry.sampling import Sampling, check_mode

ON_FOLD = ("redraw", "raise", "warn")


def per_axis(value: Sequence[int] | int, dims: int | None, name: str, least: int) -> tuple[int, ...]:
    """One whole number of at least ``least`` for every axis; ``dims`` is None where their number is not known yet.

    Raises:
        TypeError: a value that is not a whole number.
        ValueError: another number of values than axes, or a value below ``least``.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * (dims or 1)
    if not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values):
        raise TypeError(f"{name} must be a whole number, or one an axis, got {value!r}")
    if dims is not None and len(values) != dims:
        raise ValueError(f"{name} has {len(values)} values {values}, the image has {dims} axes")
    if min(values) < least:
        raise ValueError(f"{name} must be at least {least} along every axis, got {values}")
    return tuple(int(v) for v in values)


def _span(value: Sequence[float] | float, name: str) -> tuple[float, float]:
    """(low, high) from a pair or from one number that stands for -number .. +number."""
    pair = tuple(value) if isinstance(value, Sequence) else (-abs(value), abs(value))
    if len(pair) != 2 or not pair[0] <= pair[1]:
        raise ValueError(f"{name} must be a number or (low, high) with low <= high, got {value}")
    return float(pair[0]), float(pair[1])


class RandWarp(RandomizableTransform):
    """Base of the random deformations; a subclass draws the displacement.

    Args:
        prob: probability of deforming, rotating and flipping; otherwise the window is only cut out.
        spatial_size: size of the window in px, one for all axes or one an axis; None: the image's.
        rotate_range: angle in rad, one number for -+ or (low, high), counter-clockwise as numpy.rot90; in 3D
            within one plane, see ``spacing``.
        scale_range: relative magnification of every axis, drawn apart: 0.1 for 0.9 .. 1.1, or (low, high).
        shear_range: shear in that same plane, tangent of the angle, one number for -+ or (low, high).
        shift: where the middle of the window is. "none": in the middle of the image. A number of px, one for
            all axes or one an axis: up to so far from there, uniformly. "anywhere": on every pixel of the image
            with equal probability, whatever the window's size: what the network predicts there then covers the
            image's border as often as its middle, in the mirrored surroundings that inference gives it too. All
            are whole px.
        flip: mirror each axis with probability 0.5: True for all, or a sequence of spatial axes.
        mode: default interpolation, see :meth:`transforms.geometry.sampling.Sampling.read`.
        on_fold: what happens when the deformation folds (smallest Jacobian determinant at or below 0):
            "redraw" the displacement, so that only those without a fold occur, and raise when ``max_redraws``
            more did not help; "raise"; or "warn" and use it.
        max_redraws: how often a folding displacement is drawn again.
        spacing: distance between pixels along each axis, in any unit. Rotation and shear then stay within the first two
            axes of equal spacing, and there is none where all differ. None: the last two axes.

    Attributes:
        smallest_jacobian: smallest Jacobian determinant of the last deformation; 1 when there was none.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        prob: float,
        spatial_size: Sequence[int] | int | None,
        rotate_range: Sequence[float] | float,
        scale_range: Sequence[float] | float,
        shear_range: Sequence[float] | float,
        shift: str | Sequence[int] | int,
        flip: bool | Sequence[int],
        mode: str,
        on_fold: str,
        max_redraws: int,
        spacing: Sequence[float] | None = None,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be within 0 .. 1, got {prob}")
        if isinstance(shift, str) and shift not in ("none", "anywhere"):
            raise ValueError(f"shift must be 'none', 'anywhere' or a range in px, got {shift!r}")
        if on_fold not in ON_FOLD:
            raise ValueError(f"on_fold must be one of {', '.join(ON_FOLD)}, got {on_fold!r}")
        if spatial_size is not None:
            per_axis(spatial_size, None, "spatial_size", 1)
        if not isinstance(shift, str):
            per_axis(shift, None, "shift", 0)
        if max_redraws < 0:
            raise ValueError(f"max_redraws must be at least 0, got {max_redraws}")
        check_mode(mode)
        super().__init__(prob)
        self.spatial_size = spatial_size
        self.rotate_range = _span(rotate_range, "rotate_range")
        self.scale_range = _span(scale_range, "scale_range")
        self.shear_range = _span(shear_range, "shear_range")
        if self.scale_range[0] <= -1:
            raise ValueError(f"scale_range must stay above -1 (nothing left), got {scale_range}")
        self.shift = shift
        self.flip = flip
        self.mode = mode
        self.on_fold = on_fold
        self.max_redraws = max_redraws
        self.spacing = spacing
        self.smallest_jacobian = 1.0
        self.sampling: Sampling | None = None

    @abstractmethod
    def draw_displacement(self, window_size: tuple[int, ...]) -> np.ndarray | None:
        """A random displacement (d, H, W[, D]) float32 in px; None where the parameters leave none."""

    @abstractmethod
    def fold_advice(self, window_size: tuple[int, ...]) -> str:
        """The parameters that made a window of this size fold, and the largest advisable ones."""

    def randomize(self, data: Sequence[int]) -> None:
        """Draw one warp for images of spatial size ``data`` (px)."""
        super().randomize(None)
        image_size = tuple(int(n) for n in data)
        if len(image_size) not in (2, 3) or min(image_size) < 1:
            raise ValueError(f"an image must be CHW or CHWD and not empty, got spatial size {image_size}")
        dims = len(image_size)
        if self.spacing is not None and len(self.spacing) != dims:
            raise ValueError(f"spacing has {len(self.spacing)} values {self.spacing}, the image has {dims} axes")
        window_size = image_size if self.spatial_size is None else per_axis(self.spatial_size, dims, "spatial_size", 1)
        centre = self._draw_centre(image_size, window_size)
        matrix, displacement = np.eye(dims), None
        self.smallest_jacobian = 1.0
        if self._do_transform:
            matrix = self._draw_matrix(dims)
            displacement = self._draw_unfolded(window_size)
        self.sampling = Sampling(image_size, window_size, centre, matrix, displacement)

    def __call__(self, img: NdarrayOrTensor, mode: str | None = None, randomize: bool = True) -> NdarrayOrTensor:
        """
        Args:
            img: CHW[D].
            mode: interpolation, the constructor's when None. Labels need "nearest".
            randomize: False to apply the last warp again, to the label of the same image for instance.

        Returns:
            CHW[D] of the window's size, of the same kind as ``img``; its meta data stays that of the image.

        Raises:
            ValueError: a deformation that folds, an unknown mode, or, without ``randomize``, an image of
                another size.
            RuntimeError: ``randomize`` is False and nothing was drawn yet.
        """
        if randomize:
            self.randomize(img.shape[1:])
        if self.sampling is None:
            raise RuntimeError("nothing was drawn yet: call randomize(image.shape[1:]) first, or randomize=True")
        return self.sampling.read(img, mode or self.mode)

    def _draw_centre(self, image_size: tuple[int, ...], window_size: tuple[int, ...]) -> np.ndarray:
        """Middle of the window, on or halfway between pixels so that a window without rotation is an exact crop."""
        start = [(n - w) // 2 for n, w in zip(image_size, window_size, strict=True)]
        if self.shift == "anywhere":
            middle = [self.R.randint(n) for n in image_size]
            # a window of even size has no middle pixel: either of the two is the middle with equal probability
            start = [m - (w - self.R.randint(2)) // 2 for m, w in zip(middle, window_size, strict=True)]
        elif not isinstance(self.shift, str):
            reach = per_axis(self.shift, len(image_size), "shift", 0)
            start = [s + self.R.randint(-r, r + 1) for s, r in zip(start, reach, strict=True)]
        return np.array([s + (w - 1) / 2 for s, w in zip(start, window_size, strict=True)])

    def _draw_matrix(self, dims: int) -> np.ndarray:
        """Rotation @ shear @ 1 / scale @ flips: from the window's axes to the image's."""
        angle, slant = self.R.uniform(*self.rotate_range), self.R.uniform(*self.shear_range)
        plane = (dims - 2, dims - 1) if self.spacing is None else isotropic_plane(self.spacing)
        rotation, shear = np.eye(dims), np.eye(dims)
        if plane is not None:
            rotation[np.ix_(plane, plane)] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
            shear[plane] = slant
        scale = 1 + self.R.uniform(*self.scale_range, size=dims)
        axes = range(dims) if self.flip is True else (self.flip or ())
        flips = np.ones(dims)
        for axis in axes:
            if not -dims <= axis < dims:
                raise ValueError(f"flip names axis {axis}, the image has axes 0 .. {dims - 1}")
            flips[axis] = self.R.choice((-1, 1))
        return rotation @ shear @ np.diag(flips / scale)

    def _draw_unfolded(self, window_size: tuple[int, ...]) -> np.ndarray | None:
        """A displacement that passes the fold policy."""
        draws = 1 + (self.max_redraws if self.on_fold == "redraw" else 0)
        for _ in range(draws):
            displacement = self.draw_displacement(window_size)
            if displacement is None:
                return None
            self.smallest_jacobian = smallest_jacobian(displacement)
            if self.smallest_jacobian > 0:
                return displacement
        message = (
            f"the deformation folds over itself in {'all ' if draws > 1 else ''}{draws} draw{'s' * (draws > 1)}: "
            f"smallest Jacobian determinant {self.smallest_jacobian:.3g} (must be above 0) in a window of "
            f"{window_size} px; {self.fold_advice(window_size)}"
        )
        if self.on_fold != "warn":
            raise ValueError(message)
        warnings.warn(message, stacklevel=4)
        return displacement


class RandWarpd(RandomizableTransform, MapTransform):
    """Base of the dictionary forms: one warp is drawn and applied to all keys, each in its own mode.

    Args:
        keys: image, label, weight, ...: all of one spatial size.
        warp: the array form, of whose arguments the dictionary form has all.
        mode: interpolation of all keys, or one for each: "nearest" for labels; "bilinear" for weights; for images
            "nearest" keeps the noise as it is, "bilinear" leaves 4/9 of its variance (see docs/how_it_works.md).
        allow_missing_keys: an item may lack some of them.
    """

    backend = RandWarp.backend

    def __init__(
        self,
        keys: KeysCollection,
        warp: RandWarp,
        mode: Sequence[str] | str,
        allow_missing_keys: bool,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob=1.0)  # the array form draws whether it deforms
        self.warp = warp
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        for one in self.mode:
            check_mode(one)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandWarpd:
        super().set_random_state(seed, state)
        self.warp.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """
        Raises:
            ValueError: keys of different spatial sizes; whatever the array form raises.
        """
        d = dict(data)
        sizes = {key: tuple(d[key].shape[1:]) for key in self.key_iterator(d)}
        if not sizes:
            return d
        (first, size), *others = sizes.items()
        for key, other in others:
            if other != size:
                raise ValueError(f"all keys must have one spatial size, {first!r} has {size} px and {key!r} {other} px")
        self.warp.randomize(size)
        for key, mode in self.key_iterator(d, self.mode):
            d[key] = self.warp(d[key], mode=mode, randomize=False)
        return d
