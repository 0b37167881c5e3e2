"""The layers of an open image in napari, and the tools beyond napari's own: lines and keys that change cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap

from seamless_annotator import edits
from seamless_annotator.edits import Edit
from seamless_annotator.numbering import Numbering
from seamless_annotator.session import Opened

#: key -> what :meth:`Layers.press` does, by its name and in words
KEYS = {
    "J": ("join", "join: drag a line over cells to make them one"),
    "S": ("split", "split: drag a line through a cell"),
    "D": ("delete", "delete the cell under the cursor"),
    "C": ("give_class", "give the cell under the cursor the class"),
    "N": ("paint_new", "paint a new cell of the class"),
    "M": ("paint_new", ""),  # napari's own would take a number of any class
    "U": ("paint_not_annotated", "paint what is not annotated"),
}
_CELLS, _LINE = "cells", "line"
_MAPS = {"probability": "viridis", "uncertainty": "magma"}


class Layers:
    """Shows one image at a time.

    Args:
        viewer: napari's; layers of others are left alone.
        changed: called after each change of cells.
        say: shows a sentence to the annotator.
        tool: called with the name of the line tool that is on now, "" for none.
    """

    def __init__(
        self, viewer: Any, changed: Callable[[], None], say: Callable[[str], None], tool: Callable[[str], None]
    ) -> None:
        self.viewer, self._changed, self._say, self._tool_changed = viewer, changed, say, tool
        self.tool, self.kind = "", 1
        self.cells: Labels | None = None
        self._mine: list[Any] = []

    def show(self, opened: Opened, numbering: Numbering) -> None:
        """Replace the layers by those of an image."""
        self.clear()
        self.numbering = numbering
        image = opened.image
        colour = image.shape[-1] == 3 and image.dtype == np.uint8
        shown = {"rgb": True} if colour else {"channel_axis": -1} if image.shape[-1] > 1 else {}
        added = self.viewer.add_image(image if shown else image[..., 0], name=opened.name, **shown)
        self._mine += added if isinstance(added, list) else [added]
        for layer in self._mine:
            if not colour:
                layer.contrast_limits = _limits(layer.data)
        colours = CyclicLabelColormap(colors=numbering.colours())
        self.cells = self.viewer.add_labels(opened.numbers, name=_CELLS, colormap=colours, opacity=0.5)
        opened.numbers = self.cells.data  # the same pixels
        self.cells.events.data.connect(lambda: self._replaced(opened))
        self.cells.events.labels_update.connect(lambda: self._changed())
        self.cells.events.selected_label.connect(self._require_class)
        for name in ("undo", "redo"):  # napari announces neither
            setattr(self.cells, name, self._announced(getattr(self.cells, name)))
        self.cells.mouse_drag_callbacks.append(self._drag)
        self.cells.events.mode.connect(self._leave_tool)
        for key, (method, _) in KEYS.items():
            self.cells.bind_key(key, lambda layer, method=method: self.press(method), overwrite=True)
        self._mine.append(self.cells)
        self.viewer.layers.selection.active = self.cells
        self.viewer.reset_view()

    def clear(self) -> None:
        """Take the layers of the image away."""
        self.use("")
        for layer in [*self._mine, *[each for each in self.viewer.layers if each.name == _LINE]]:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self._mine, self.cells = [], None

    def refresh(self) -> None:
        """After the pixels were replaced: an undo would mix older ones into them."""
        if self.cells is not None:
            self.cells._reset_history()
            self.cells.refresh()

    def overlay(self, maps: dict[str, np.ndarray]) -> None:
        """Show "probability" and "uncertainty" as layers below the cells, the latter hidden at first."""
        for name, colours in _MAPS.items():
            values = maps[name].astype(np.float32)
            old = next((layer for layer in self._mine if layer.name == name and layer in self.viewer.layers), None)
            if old is not None:
                old.data = values
                continue
            layer = self.viewer.add_image(values, name=name, colormap=colours, opacity=0.5, visible=False)
            layer.contrast_limits = (0, 1)
            self.viewer.layers.move(self.viewer.layers.index(layer), self.viewer.layers.index(self.cells))
            self._mine.append(layer)
        self.viewer.layers.selection.active = self.cells

    def compare(self, numbers: np.ndarray) -> None:
        """Show another label of the same image as outlines."""
        if self.cells is not None and numbers.shape == self.cells.data.shape:
            layer = self.viewer.add_labels(numbers, name="theirs", colormap=self.cells.colormap)
            layer.contour, layer.editable = 2, False
            self._mine.append(layer)
            self.viewer.layers.selection.active = self.cells

    def use(self, tool: str) -> None:
        """Turn a line tool on, "join" or "split", or with "" off."""
        self.tool = tool if self.cells is not None else ""
        if self.cells is not None and tool:
            self.cells.mode = "pan_zoom"
        if self.cells is not None:
            self.cells.mouse_pan = not tool and self.cells.mode == "pan_zoom"
        self._tool_changed(self.tool)

    def choose(self, kind: int) -> None:
        """The class of new cells."""
        self.kind = kind
        self._require_class()

    def paint(self, number: int) -> None:
        """Take napari's brush with a number."""
        if self.cells is not None:
            self.use("")
            self.cells.selected_label, self.cells.mode = number, "paint"

    def paint_new(self) -> None:
        """Take the brush for a new cell of the class."""
        if self.cells is not None:
            self.paint(self.numbering.fresh(self._used(), self.kind))

    def paint_not_annotated(self) -> None:
        """Take the brush for what is not annotated."""
        if self.cells is not None:
            self.paint(self.numbering.not_annotated)

    def draw(self, line: Any) -> None:
        """What the tool does with a line of (row, column) on the plane that is shown."""
        if self.tool == "join":
            self._apply(lambda plane: edits.merge(plane, line, self.numbering))
        elif self.tool == "split":
            self._apply(lambda plane: edits.split(plane, line, self.numbering, self._used()))

    def press(self, what: str) -> None:
        """What a key of :data:`KEYS` does."""
        if what in ("join", "split"):
            self.use("" if self.tool == what else what)
        elif what in ("delete", "give_class"):
            self.at(self.viewer.cursor.position, what)
        else:
            getattr(self, what)()

    def at(self, position: Any, method: str) -> None:
        """ "delete" or "give_class" at a position of the world."""
        assert self.cells is not None
        point = tuple(self.cells.world_to_data(position)[-2:])
        if method == "delete":
            self._apply(lambda plane: edits.delete(plane, point, self.numbering))
        else:
            self._apply(lambda plane: edits.give_class(plane, point, self.kind, self.numbering, self._used()))

    def _apply(self, edit_of: Callable[[np.ndarray], Edit]) -> None:
        assert self.cells is not None
        if not self.cells.editable:
            return
        if self.viewer.dims.ndisplay == 3:
            self._say("cells are corrected on planes: leave the 3D view first")
            return
        where = tuple(int(step) for step in self.viewer.dims.current_step[-self.cells.ndim : -2])
        try:
            rows, columns, numbers = edit_of(self.cells.data[where])
        except ValueError as error:
            self._say(str(error))
            return
        self.cells.data_setitem((*(np.full_like(rows, place) for place in where), rows, columns), numbers)

    def _used(self) -> int:
        return int(self.cells.data.max()) if self.cells is not None else 0

    def _leave_tool(self) -> None:
        if self.cells is not None and self.cells.mode != "pan_zoom":
            self.use("")

    def _replaced(self, opened: Opened) -> None:
        if self.cells is not None and self.cells.data is not opened.numbers:  # napari has converted its type
            opened.numbers = self.cells.data
            self._changed()

    def _announced(self, change: Callable[[], None]) -> Callable[[], None]:
        def announced() -> None:
            change()
            self._changed()

        return announced

    def _require_class(self) -> None:
        """A number that is new, of napari's own button, becomes one of the class."""
        if self.cells is None or self.cells.selected_label in (0, self.numbering.not_annotated):
            return
        number, used = self.cells.selected_label, self._used()
        if number > used and self.numbering.class_of(np.array(number)) != self.kind:
            self.cells.selected_label = self.numbering.fresh(used, self.kind)

    def _drag(self, layer: Labels, event: Any) -> Iterator[None]:
        if not self.tool:
            return
        line = [layer.world_to_data(event.position)[-2:]]
        shown = self.viewer.add_shapes(name=_LINE, ndim=2, edge_color="white", edge_width=2)
        self.viewer.layers.selection.active = layer
        yield
        while event.type == "mouse_move":
            line.append(layer.world_to_data(event.position)[-2:])
            shown.data = []
            shown.add_paths(np.array(line), edge_color="white", edge_width=2)
            yield
        self.viewer.layers.remove(shown)
        self.viewer.layers.selection.active = layer
        self.draw(line)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """The darkest and brightest 0.2 % apart, of a part of the pixels."""
    low, high = np.percentile(values[..., ::4, ::4], (0.2, 99.8))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)
