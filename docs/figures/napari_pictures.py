"""Pictures of docs/correct.md: the widget at work on the server of ``make label`` at http://127.0.0.1:8000.

After ``make label STUDIES=...`` with an image without a label, in the environment of ``make napari-install``:
``xvfb-run -a -s "-screen 0 1500x900x24" python docs/figures/napari_pictures.py``. It submits nothing; a draft
is left.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from napari import Viewer
from PIL import Image
from qtpy.QtTest import QTest
from seamless_annotator.widget import Annotator

IMAGES = Path(__file__).resolve().parents[1] / "images"


def main(address: str = "http://127.0.0.1:8000") -> None:
    viewer = Viewer(show=True)
    viewer.window.resize(1400, 860)
    widget = Annotator(viewer, address)
    viewer.window.add_dock_widget(widget, name="Correct cells", area="right")
    until(lambda: widget.form.images.count() > 0)
    widget.form.strategy.setCurrentText("border")
    widget.next()
    until(lambda: widget.opened is not None)
    widget.propose()
    until(lambda: "proposed for" in widget.form.message.text())
    shot(viewer, "napari_proposed")

    viewer.layers["uncertainty"].visible = True
    viewer.layers["cells"].opacity = 0.25
    shot(viewer, "napari_uncertainty")

    viewer.layers["uncertainty"].visible = False
    viewer.layers["cells"].opacity = 0.5
    layers, cells = widget.layers, widget.layers.cells
    layers.paint_not_annotated()
    cells.brush_size = 60
    for row in range(0, 90, 20):
        cells.paint((row, cells.data.shape[1] - 30), cells.selected_label)
    layers.use("split")
    middle = np.array(cells.data.shape[-2:]) // 2
    line = [middle - 60, middle + 60]
    path = viewer.add_shapes(name="line", ndim=2)
    path.add_paths(np.array(line), edge_color="white", edge_width=2)
    viewer.layers.selection.active = cells
    layers.draw(line)
    until(lambda: "(draft)" in widget.form.images.currentItem().text())
    shot(viewer, "napari_split")
    viewer.layers.remove(path)
    viewer.close()


def until(condition: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit("error: the server has not answered")
        QTest.qWait(100)


def shot(viewer: Viewer, name: str) -> None:
    QTest.qWait(800)
    Image.fromarray(viewer.screenshot(canvas_only=False)[..., :3]).save(IMAGES / f"{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main(*sys.argv[1:])
