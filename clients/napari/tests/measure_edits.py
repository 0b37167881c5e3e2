"""What a correction costs on an image of 4096 px with 16,000 cells: ``xvfb-run -a python -m tests.measure_edits``.

Milliseconds from the stroke until the layer has changed, the median of 15, in a window that is shown.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from napari import Viewer
from qtpy.QtWidgets import QApplication
from seamless_annotator.drafts import Drafts
from seamless_annotator.layers import Layers
from seamless_annotator.numbering import Numbering
from seamless_annotator.session import Opened

SIZE, STEP, TIMES = 4096, 32, 15


def main() -> None:
    numbering = Numbering(["background", "cell"])
    rows, columns = np.mgrid[:SIZE, :SIZE] // STEP
    inside = (np.mgrid[:SIZE, :SIZE] % STEP < STEP - 3).all(axis=0)
    cells = np.where(inside, rows * (SIZE // STEP) + columns + 1, 0)
    numbers = numbering.encode(cells, np.minimum(np.arange(cells.max() + 1), 1))
    viewer = Viewer()
    layers = Layers(viewer, lambda: None, print, lambda tool: None)
    image = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 1), np.uint8)
    layers.show(Opened("a", image, numbers, ""), numbering)
    QApplication.processEvents()

    def corner(number: int) -> tuple[int, int]:
        return (number * 7 % 100 + 5) * STEP, (number * 11 % 100 + 5) * STEP

    def join(number: int) -> None:
        row, column = corner(number)
        layers.draw([(row + 10, column + 10), (row + 10, column + 10 + STEP)])

    def split(number: int) -> None:
        row, column = corner(number + 300)
        layers.draw([(row + 10, column - 1), (row + 12, column + STEP - 1)])

    def delete(number: int) -> None:
        row, column = corner(number + 600)
        layers.at((row + 10, column + 10), "delete")

    for name, call in {"join": join, "split": split, "delete": delete, "undo": lambda _: layers.cells.undo()}.items():
        layers.use(name if name in ("join", "split") else "")
        seconds = [_timed(lambda number=number, call=call: call(number)) for number in range(TIMES)]
        print(f"{name:8} {1000 * median(seconds):6.0f} ms, at most {1000 * max(seconds):.0f}")
    with tempfile.TemporaryDirectory() as folder:
        drafts = Drafts(Path(folder))
        print(f"draft    {1000 * _timed(lambda: drafts.save('a', layers.cells.data, {})):6.0f} ms, beside the window")
    print(f"submit   {1000 * _timed(lambda: numbering.decode(layers.cells.data)):6.0f} ms, beside the window")
    viewer.close()


def _timed(call) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
