"""Random elastic deformation from displacement vectors on a coarse grid (Ronneberger 2015, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from monai.config import KeysCollection
from scipy.interpolate import BSpline, CubicSpline

from bundle.geometry import relative_spacing
from transforms.geometry.displacement import separable_field
from transforms.geometry.rand_warp import RandWarp, RandWarpd, per_axis

INTERPOLATIONS = ("cubic", "bspline")

#: largest sigma, in units of the distance between grid vectors, at which fewer than 1 % of draws fold: counted
#: over grids of 2 to 9 vectors along an axis, 600 draws each in 2D, 120 in 3D
ADVISABLE = {("cubic", 2): 0.12, ("cubic", 3): 0.1, ("bspline", 2): 0.35, ("bspline", 3): 0.35}


@lru_cache(maxsize=64)
def grid_basis(n: int, grid_size: int, interpolation: str) -> np.ndarray:
    """Basis functions of the grid's vectors at ``n`` pixels, the outer vectors lying on the first and last pixel.

    Args:
        n: pixels along the axis.
        grid_size: vectors along the axis.
        interpolation: "cubic": cardinal functions of the natural cubic spline, (n, grid_size); the field passes
            through the vectors. "bspline": the uniform cubic B-spline, (n, grid_size + 2), whose outermost two
            vectors lie one step outside; the field only approaches the vectors.

    Returns:
        float32, rows sum to 1.
    """
    x = np.linspace(0, grid_size - 1, n) if n > 1 else np.array([(grid_size - 1) / 2])
    if interpolation == "cubic":
        basis = CubicSpline(np.arange(grid_size), np.eye(grid_size), bc_type="natural")(x)
    else:
        knots = np.arange(-3, grid_size + 3)
        basis = BSpline(knots, np.eye(grid_size + 2), 3)(x)
    return np.asarray(basis, dtype=np.float32)


class RandElasticGrid(RandWarp):
    """Deform by random displacement vectors on a coarse grid that spans the window, as the paper does.

    The paper: "random displacement vectors on a coarse 3 by 3 grid. The displacements are sampled from a
    Gaussian distribution with 10 pixels standard deviation. Per-pixel displacements are then computed using
    bicubic interpolation." Rotation, flips, shift and deformation are one sampling, mirrored at the border.

    Args:
        prob: see :class:`transforms.geometry.rand_warp.RandWarp`, also for every argument not listed here.
        sigma: standard deviation of the vectors along every axis, in px; with ``spacing`` in px of the finest axis.
        grid_size: vectors along every axis, at least 2; one number or one an axis.
        interpolation: "cubic" passes through the vectors, as the paper reads: with sigma = 10 px pixels move by a
            standard deviation of 10 px at the vectors and 5.9 px midway (3 by 3 grid). "bspline" is the uniform
            cubic B-spline approximation of the authors' release: 4.6 to 5.0 px (3.1 to 3.5 px in 3D).

    Raises:
        ValueError: an argument out of its range; on call, a deformation that folds (see ``on_fold``).

    Examples:
        >>> warp = RandElasticGridd(["image", "label"], mode=["bilinear", "nearest"], spatial_size=572)
    """

    def __init__(
        self,
        prob: float = 1.0,
        sigma: float = 10.0,
        grid_size: Sequence[int] | int = 3,
        spatial_size: Sequence[int] | int | None = None,
        interpolation: str = "cubic",
        rotate_range: Sequence[float] | float = 0.0,
        shift: str | Sequence[int] | int = "none",
        flip: bool | Sequence[int] = False,
        mode: str = "bilinear",
        on_fold: str = "redraw",
        max_redraws: int = 20,
        spacing: Sequence[float] | None = None,
        scale_range: Sequence[float] | float = 0.0,
    ) -> None:
        if not sigma >= 0:
            raise ValueError(f"sigma must be at least 0 px (0 switches the deformation off), got {sigma}")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
        per_axis(grid_size, None, "grid_size", 2)
        super().__init__(
            prob, spatial_size, rotate_range, scale_range, 0.0, shift, flip, mode, on_fold, max_redraws, spacing
        )
        self.sigma = sigma
        self.grid_size = grid_size
        self.interpolation = interpolation

    def draw_displacement(self, window_size: tuple[int, ...]) -> np.ndarray | None:
        if self.sigma == 0:
            return None
        grid_size = per_axis(self.grid_size, len(window_size), "grid_size", 2)
        bases = [grid_basis(n, g, self.interpolation) for n, g in zip(window_size, grid_size, strict=True)]
        vectors = self.R.normal(0, self.sigma, (len(bases), *(basis.shape[1] for basis in bases)))
        if self.spacing is not None:
            vectors /= np.reshape(relative_spacing(self.spacing), (-1, *[1] * len(bases)))
        return separable_field(vectors, bases)

    def fold_advice(self, window_size: tuple[int, ...]) -> str:
        grid_size = per_axis(self.grid_size, len(window_size), "grid_size", 2)
        axes = zip(window_size, grid_size, relative_spacing(self.spacing or [1] * len(window_size)), strict=True)
        apart = min((n - 1) / (g - 1) * r for n, g, r in axes if n > 1)
        largest = ADVISABLE[self.interpolation, len(window_size)] * apart
        return (
            f"sigma={self.sigma:g} px is too large for vectors {apart:.1f} px apart: the largest advisable "
            f"sigma here is {largest:.2g} px"
        )


class RandElasticGridd(RandWarpd):
    """Dictionary form of :class:`RandElasticGrid`, see :class:`transforms.geometry.rand_warp.RandWarpd`."""

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 1.0,
        sigma: float = 10.0,
        grid_size: Sequence[int] | int = 3,
        spatial_size: Sequence[int] | int | None = None,
        interpolation: str = "cubic",
        rotate_range: Sequence[float] | float = 0.0,
        shift: str | Sequence[int] | int = "none",
        flip: bool | Sequence[int] = False,
        mode: Sequence[str] | str = "bilinear",
        on_fold: str = "redraw",
        max_redraws: int = 20,
        allow_missing_keys: bool = False,
        spacing: Sequence[float] | None = None,
        scale_range: Sequence[float] | float = 0.0,
    ) -> None:
        warp = RandElasticGrid(
            prob,
            sigma,
            grid_size,
            spatial_size,
            interpolation,
            rotate_range,
            shift,
            flip,
            on_fold=on_fold,
            max_redraws=max_redraws,
            spacing=spacing,
            scale_range=scale_range,
        )
        super().__init__(keys, warp, mode, allow_missing_keys)
