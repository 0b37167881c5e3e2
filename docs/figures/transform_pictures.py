"""Draw transform_*.png, the pictures of the transforms: ``python docs/figures/transform_pictures.py``.

The cells are synthetic and every random number is seeded, so the pictures come out the same each time.
"""

from __future__ import annotations

import matplotlib
import numpy as np
from drawing import BLUE, ORANGE, panels, save, show
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum_filter
from skimage.segmentation import find_boundaries, relabel_sequential, watershed

from bundle.geometry import ValidGeometry
from transforms import (
    CropToOutput,
    MirrorPad,
    RandElasticField,
    RandElasticGrid,
    RandGrayCurve,
    SeparateTouching,
    WeightMap,
)


def touching_cells(size: int, spacing: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gray image (H, W) in 0..1 and instances (H, W) of blobs that touch within clusters."""
    state = np.random.RandomState(seed)
    nodes = np.arange(-spacing / 2, size + spacing, spacing)
    centres = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    centres = np.rint(centres + state.uniform(-0.32, 0.32, centres.shape) * spacing).astype(int)
    centres = centres[((centres >= 0) & (centres < size)).all(axis=1)]
    seeds = np.zeros((size, size), np.int32)
    seeds[tuple(centres.T)] = state.permutation(len(centres)) + 1

    def noise(smoothness: float) -> np.ndarray:
        field = gaussian_filter(state.randn(size, size), smoothness)
        return field / field.std()

    seeds[noise(spacing * 0.8) < -0.45] = 0  # gaps of background between clusters
    distance = distance_transform_edt(seeds == 0)
    mask = distance < spacing * (0.55 + 0.06 * noise(spacing / 5))
    cells = watershed(distance + 1.5 * noise(spacing / 8), seeds, mask=mask)
    for number, area in enumerate(np.bincount(cells.ravel())):
        if area < spacing**2 / 6:
            cells[cells == number] = 0
    cells = relabel_sequential(cells)[0].astype(np.int32)

    inside = (cells > 0).astype(float)
    rim = gaussian_filter(find_boundaries(cells, mode="inner").astype(float), 1.2)
    depth = np.minimum(distance_transform_edt(~find_boundaries(cells)) * inside / (spacing / 3), 1)
    gray = 0.33 + 0.22 * gaussian_filter(inside, 1.5) + 0.16 * depth - 0.42 * rim
    gray += (0.03 + 0.05 * inside) * noise(2.2) + 0.02 * state.randn(size, size)
    return np.clip(gray, 0, 1).astype(np.float32), cells


def colours(cells: np.ndarray) -> np.ndarray:
    """RGB of an instance map: background black, every cell one of seventeen colours."""
    palette = np.delete(matplotlib.colormaps["tab20"](np.arange(20))[:, :3], [7, 14, 15], axis=0)  # no grays
    return np.where((cells > 0)[..., None], palette[(cells * 5) % len(palette)], 0.0)


def deformations() -> None:
    size, sigma = 380, 15
    gray, _ = touching_cells(size, 52, seed=1)
    lines = np.zeros((size, size), np.float32)
    for offset in (-1, 0, 1):
        at = np.arange(10, size - 1, 40) + offset
        lines[at], lines[:, at] = 1, 1
    warps = {
        f"RandElasticGrid, cubic (σ = {sigma} px)": RandElasticGrid(sigma=sigma),
        f"RandElasticGrid, bspline (σ = {sigma} px)": RandElasticGrid(sigma=sigma, interpolation="bspline"),
        "RandElasticField (α = 600, σ = 20 px)": RandElasticField(alpha=600, sigma=20),
    }

    def painted(picture: np.ndarray, grid: np.ndarray) -> np.ndarray:
        amber = np.array([1.0, 0.78, 0.25])
        return picture[..., None] * (1 - 0.75 * grid[..., None]) + 0.75 * grid[..., None] * amber

    figure, axes = panels(4)
    show(axes[0], painted(gray, lines), "image with a regular grid")
    for ax, (title, warp) in zip(axes[1:], warps.items(), strict=True):
        warp.set_random_state(18)
        moved = warp(np.stack([gray, lines]))
        show(ax, painted(*np.clip(moved, 0, 1)), title)
        if isinstance(warp, RandElasticGrid) and warp.sampling and warp.sampling.displacement is not None:
            nodes = np.array([0, size // 2, size - 1])
            y, x = np.meshgrid(nodes, nodes, indexing="ij")
            v, u = -warp.sampling.displacement[:, y, x]  # what is shown at a node came from against the reading
            ax.quiver(
                x - u, y - v, u, v, angles="xy", scale_units="xy", scale=1, color="#00c2ff", width=0.016, zorder=3
            )
    for ax in axes:
        ax.set(xlim=(-18, size + 18), ylim=(size + 18, -18))
    save(figure, "transform_deformations")


def weight_map() -> None:
    gray, cells = touching_cells(256, 40, seed=4)
    separated = SeparateTouching()(cells[None])
    weight = WeightMap()(separated)[0]
    figure, axes = panels(4, extra=0.1)
    show(axes[0], gray, "image")
    show(axes[1], colours(cells), "instances")
    show(axes[2], separated[0] > 0, "label after SeparateTouching")
    show(axes[3], weight, "WeightMap (w0 = 10, σ = 5 px)", cmap="jet", vmax=weight.max())
    bar = figure.colorbar(axes[3].images[0], ax=axes[3], fraction=0.046, pad=0.02)
    bar.set_label("weight w(x)")
    save(figure, "transform_weight_map")


def separation() -> None:
    _, cells = touching_cells(256, 40, seed=4)
    meeting = sum(maximum_filter(cells == number, 3).astype(int) for number in range(1, cells.max() + 1)) >= 3
    points = np.argwhere(meeting)
    y, x = points[np.abs(points - 128).sum(axis=1).argmin()] - 28  # three cells meet in the middle of the zoom
    zoom = (slice(y, y + 56), slice(x, x + 56))
    figure, axes = panels(4)
    show(axes[0], colours(cells[zoom]), "touching instances")
    for ax, width in zip(axes[1:], (1, 2, 3), strict=True):
        separated = SeparateTouching(width)(cells[None])[0]
        picture = colours(separated)
        picture[(separated == 0) & (cells > 0)] = 1
        show(ax, picture[zoom], f"SeparateTouching(width={width})")
    save(figure, "transform_separation")


def gray_curves() -> None:
    gray, _ = touching_cells(256, 40, seed=4)
    figure = Figure(figsize=(10.8, 2.9), dpi=120, layout="constrained")
    axes = figure.subplots(1, 4)
    x = np.linspace(0, 1, 1024)
    default, strong = (
        RandGrayCurve().set_random_state(0),
        RandGrayCurve(end_low=(0, 0.25), end_high=(0.75, 1), slope=(0.2, 3)).set_random_state(5),
    )
    for _ in range(12):
        default.randomize()
        axes[0].plot(x, default.curves[0], color=BLUE, alpha=0.5, linewidth=1)
    usual, changed = default(gray), strong(gray)
    axes[0].plot(x, default.curves[0], color="#0b57d0", linewidth=2)
    axes[0].plot(x, strong.curves[0], color=ORANGE, linewidth=2)
    axes[0].plot([0, 1], [0, 1], color="0.4", linewidth=0.8, linestyle=":")
    axes[0].set(
        xlabel="gray value in the image's range", ylabel="new value", aspect="equal", xlim=(0, 1), ylim=(-0.06, 1.06)
    )
    axes[0].set_title("default curves (blue), a strong one")
    low, high = float(gray.min()), float(gray.max())
    show(axes[1], gray, "image", vmin=low, vmax=high)
    show(axes[2], usual, "RandGrayCurve()", vmin=low, vmax=high)
    show(axes[3], changed, "the strong curve", vmin=low, vmax=high)
    for ax in axes[1:]:
        ax.set_axis_off()
    save(figure, "transform_gray_curve")


def mirror_pad() -> None:
    gray, _ = touching_cells(256, 44, seed=7)
    figure, axes = panels(3, side=3.2)
    show(axes[0], gray, "image, 256 x 256 px")
    small = gray[:72, :72]
    for ax, picture, margin in ((axes[1], gray, ValidGeometry(4).margin), (axes[2], small, 160)):
        n = len(picture)
        padded = MirrorPad(margin)(picture[None])[0]
        show(ax, padded, f"MirrorPad({margin}) of {n} x {n} px: {len(padded)} x {len(padded)} px")
        ax.add_patch(Rectangle((margin - 0.5,) * 2, n, n, fill=False, edgecolor=ORANGE, linewidth=1.6))
    save(figure, "transform_mirror_pad")


def crop_to_output() -> None:
    geometry = ValidGeometry(4)
    gray, cells = touching_cells(572, 52, seed=2)
    margin, inner = geometry.margin, geometry.output_size(572)
    figure, axes = panels(3, side=3.2)
    show(axes[0], gray, "input of the network, 572 x 572 px")
    inside = np.zeros(cells.shape, bool)
    inside[margin:-margin, margin:-margin] = True
    show(axes[1], colours(cells) * np.where(inside, 1, 0.35)[..., None], "label, 572 x 572 px")
    for ax in axes[:2]:
        ax.add_patch(Rectangle((margin - 0.5,) * 2, inner, inner, fill=False, edgecolor=ORANGE, linewidth=1.8))
    arrow = {"arrowstyle": "<->", "color": ORANGE, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
    box = {"facecolor": "black", "edgecolor": "none", "alpha": 0.65, "pad": 2}
    axes[0].annotate("", (0, 286), (margin, 286), arrowprops=arrow)
    axes[0].text(margin / 2, 270, f"{margin} px", color=ORANGE, ha="center", va="bottom", fontweight="bold", bbox=box)
    cropped = CropToOutput(4)(cells[None]).numpy()[0]
    show(axes[2], colours(cropped), f"CropToOutput(4): {inner} x {inner} px")
    save(figure, "transform_crop_to_output")


def main() -> None:
    deformations()
    weight_map()
    separation()
    gray_curves()
    mirror_pad()
    crop_to_output()


if __name__ == "__main__":
    main()
