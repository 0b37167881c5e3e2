"""Random elastic deformation from a smoothed random field (Simard, Steinkraus and Platt 2003)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from monai.config import KeysCollection
from scipy.linalg import convolution_matrix

from transforms.geometry.displacement import separable_field
from transforms.geometry.rand_warp import RandWarp, RandWarpd

#: largest standard deviation of the displacement, in units of sigma, at which fewer than 1 % of draws fold;
#: counted over windows of 16 to 64 sigma, 300 draws each in 2D, 60 in 3D
ADVISABLE = {2: 0.25, 3: 0.2}


@lru_cache(maxsize=16)
def gaussian_basis(n: int, sigma: float) -> np.ndarray:
    """Gaussian filter along an axis as a matrix: (n, n + 2 r) float32, r = 4 sigma px, rows sum to 1.

    It needs r samples beyond either end, so that the field has the same variance up to the edge.
    """
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    return np.ascontiguousarray(convolution_matrix(kernel, n).T, np.float32)


class RandElasticField(RandWarp):
    """Affine transformation, then a displacement of every pixel by a smoothed random field.

    Simard's recipe: displacements uniform in -1 .. 1 for every pixel and axis, convolved with a Gaussian of
    standard deviation ``sigma``, times ``alpha``, applied to the affinely transformed image. All of it is one
    sampling, mirrored at the border.

    The smoothing shrinks the amplitude: in 2D pixels move by a standard deviation of 0.163 alpha / sigma px, so
    alpha = 600 with sigma = 20 px moves them by 4.9 px. With ``normalise`` it is ``alpha`` px itself.

    Args:
        prob: see :class:`transforms.geometry.rand_warp.RandWarp`, also for every argument not listed here.
        alpha: factor of the smoothed field, in px.
        sigma: standard deviation of the Gaussian in px: how far neighbouring pixels move together.
        normalise: divide the smoothed field by its expected standard deviation before ``alpha``.

    Raises:
        ValueError: an argument out of its range; on call, a deformation that folds (see ``on_fold``).
    """

    def __init__(
        self,
        prob: float = 1.0,
        alpha: float = 600.0,
        sigma: float = 20.0,
        normalise: bool = False,
        spatial_size: Sequence[int] | int | None = None,
        rotate_range: Sequence[float] | float = 0.0,
        scale_range: Sequence[float] | float = 0.0,
        shear_range: Sequence[float] | float = 0.0,
        shift: str | Sequence[int] | int = "none",
        flip: bool | Sequence[int] = False,
        mode: str = "bilinear",
        on_fold: str = "redraw",
        max_redraws: int = 20,
    ) -> None:
        if not alpha >= 0:
            raise ValueError(f"alpha must be at least 0 (0 switches the deformation off), got {alpha}")
        if not sigma > 0:
            raise ValueError(f"sigma must be above 0 px (10 to 30 suit cells), got {sigma}")
        super().__init__(
            prob, spatial_size, rotate_range, scale_range, shear_range, shift, flip, mode, on_fold, max_redraws
        )
        self.alpha = alpha
        self.sigma = sigma
        self.normalise = normalise

    def draw_displacement(self, window_size: tuple[int, ...]) -> np.ndarray | None:
        if self.alpha == 0:
            return None
        bases = [gaussian_basis(n, self.sigma) for n in window_size]
        noise = self.R.uniform(-1, 1, (len(bases), *(basis.shape[1] for basis in bases)))
        factor = self.alpha / self._field_std(len(bases)) if self.normalise else self.alpha
        return separable_field(noise * factor, bases)

    def fold_advice(self, window_size: tuple[int, ...]) -> str:
        dims = len(window_size)
        per_px = 1.0 if self.normalise else self._field_std(dims)
        return (
            f"alpha={self.alpha:g} moves pixels by a standard deviation of {self.alpha * per_px:.1f} px, too much "
            f"for sigma={self.sigma:g} px: the largest advisable alpha here is "
            f"{ADVISABLE[dims] * self.sigma / per_px:.2g}"
        )

    def _field_std(self, dims: int) -> float:
        """Expected standard deviation of smoothed noise: 1/sqrt(3) of U(-1, 1) times the kernel's 2-norm."""
        kernel = gaussian_basis(1, self.sigma).astype(np.float64)
        return float(np.linalg.norm(kernel) ** dims / np.sqrt(3))


class RandElasticFieldd(RandWarpd):
    """Dictionary form of :class:`RandElasticField`, see :class:`transforms.geometry.rand_warp.RandWarpd`."""

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 1.0,
        alpha: float = 600.0,
        sigma: float = 20.0,
        normalise: bool = False,
        spatial_size: Sequence[int] | int | None = None,
        rotate_range: Sequence[float] | float = 0.0,
        scale_range: Sequence[float] | float = 0.0,
        shear_range: Sequence[float] | float = 0.0,
        shift: str | Sequence[int] | int = "none",
        flip: bool | Sequence[int] = False,
        mode: Sequence[str] | str = "bilinear",
        on_fold: str = "redraw",
        max_redraws: int = 20,
        allow_missing_keys: bool = False,
    ) -> None:
        warp = RandElasticField(
            prob,
            alpha,
            sigma,
            normalise,
            spatial_size,
            rotate_range,
            scale_range,
            shear_range,
            shift,
            flip,
            on_fold=on_fold,
            max_redraws=max_redraws,
        )
        super().__init__(keys, warp, mode, allow_missing_keys)
