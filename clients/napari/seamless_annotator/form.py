"""What the widget shows: fields, buttons and lists, without any logic of annotation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from seamless_annotator.layers import KEYS
from seamless_annotator.server import AT_WORK

#: by shape, not by colour alone
_SIGNS = {"annotated": "●", "draft": "◐", "proposed": "○", "none": " "}
_BUTTONS = {"join": "Join", "split": "Split", "paint_new": "New cell", "paint_not_annotated": "Not annotated"}


class Form:
    """The widgets by their names.

    Args:
        parent: gets them in its layout.
    """

    def __init__(self, parent: QWidget) -> None:
        self.address = QLineEdit("http://127.0.0.1:8000")
        self.connect = QPushButton("Connect")
        self.images = QListWidget()
        self.images.setMinimumHeight(110)
        self.strategy, self.next = QComboBox(), QPushButton("Next")
        self.score = QLabel()
        self.next.setToolTip("Ctrl-Right")
        self.threshold = QDoubleSpinBox(minimum=0.0, maximum=0.99, singleStep=0.05, value=0.5)
        self.min_size = QSpinBox(minimum=0, maximum=1_000_000, value=20, suffix=" px")
        self.propose, self.cancel = QPushButton("Propose"), QPushButton("Cancel")
        self.propose.setToolTip("Ctrl-P")
        self.progress = QProgressBar()
        self.kind = QComboBox()
        self.tools = {name: QPushButton(text) for name, text in _BUTTONS.items()}
        self.submit = QPushButton("Submit")
        self.submit.setToolTip("Ctrl-Enter")
        self.epochs = QSpinBox(minimum=1, maximum=100_000, value=20, suffix=" epochs")
        self.train = QPushButton("Train")
        self.trained = QPlainTextEdit(readOnly=True)
        self.trained.setMaximumHeight(90)
        self.min_size.setMinimumWidth(110)
        self.message = QLabel(wordWrap=True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for name in ("join", "split"):
            self.tools[name].setCheckable(True)
        self._lay_out(parent)
        self.idle()

    def bind(self, to: Any) -> None:
        """Let buttons call the methods of an annotator."""
        self.connect.clicked.connect(to.connect_server)
        self.address.returnPressed.connect(to.connect_server)
        self.images.itemClicked.connect(lambda item: to.open(item.data(Qt.ItemDataRole.UserRole)))
        for name in ("next", "propose", "cancel", "submit", "train"):
            _on_click(getattr(self, name), getattr(to, name))
        self.kind.currentIndexChanged.connect(lambda index: to.layers.choose(max(index, 0) + 1))
        for name, button in self.tools.items():
            key = next(key for key, (method, _) in KEYS.items() if method == name)
            button.setToolTip(f"{key}: {KEYS[key][1]}")
            if button.isCheckable():
                button.clicked.connect(lambda on, name=name: to.layers.use(name if on else ""))
            else:
                _on_click(button, getattr(to.layers, name))

    def offer(self, about: dict[str, Any]) -> None:
        """Fill in what a server has."""
        for box, entries in ((self.strategy, about["strategies"]), (self.kind, about["classes"][1:])):
            box.clear()
            box.addItems(entries)
        self.strategy.setCurrentText("first")
        self.threshold.setValue(about["cells"]["threshold"])
        self.min_size.setValue(about["cells"]["min_size"])

    def options(self) -> dict[str, Any]:
        """Of a proposal."""
        return {"threshold": round(self.threshold.value(), 4), "min_size": self.min_size.value()}

    def list_images(self, images: list[dict[str, Any]], open_one: str) -> None:
        """Show the images with their states."""
        self.images.clear()
        for image in images:
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.UserRole, image["name"])
            self.images.addItem(item)
            cells = f", {image['cells']} cells" if "cells" in image and image["state"] == "annotated" else ""
            self._set(item, image["state"], cells)
        self.select(open_one)

    def mark(self, name: str, state: str) -> None:
        """Show another state of an image."""
        for item in self._items(name):
            self._set(item, state)

    def select(self, name: str) -> None:
        """Show which image is open."""
        for item in self._items(name):
            self.images.setCurrentItem(item)

    def busy(self, done: int, total: int) -> None:
        """Show how many tiles of a proposal are done; 0 of 0: nobody knows."""
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        self.progress.setVisible(True)
        self.cancel.setVisible(True)

    def idle(self) -> None:
        """Show no proposal in work."""
        self.progress.setVisible(False)
        self.cancel.setVisible(False)

    def show_tool(self, tool: str) -> None:
        """Show which line tool is on."""
        for name in ("join", "split"):
            self.tools[name].setChecked(name == tool)

    def show_training(self, training: dict[str, Any]) -> None:
        """Show state, loss and validation."""
        self.train.setText("Stop" if training["state"] in AT_WORK else "Train")
        self.train.setEnabled(training["state"] != "stopping")
        text = state_text(training)
        if text != self.trained.toPlainText():
            self.trained.setPlainText(text)

    def _set(self, item: QListWidgetItem, state: str, more: str = "") -> None:
        told = "" if state == "none" else f" ({state}{more})"
        item.setText(f"{_SIGNS[state]} {item.data(Qt.ItemDataRole.UserRole)}{told}")

    def _items(self, name: str) -> list[QListWidgetItem]:
        items = [self.images.item(row) for row in range(self.images.count())]
        return [item for item in items if item.data(Qt.ItemDataRole.UserRole) == name]

    def _lay_out(self, parent: QWidget) -> None:
        column = QVBoxLayout(parent)

        def row(*widgets: QWidget) -> None:
            line = QHBoxLayout()
            for widget in widgets:
                line.addWidget(widget)
            column.addLayout(line)

        row(self.address, self.connect)
        column.addWidget(self.images, stretch=1)
        row(self.strategy, self.next, self.score)
        row(QLabel("threshold"), self.threshold, QLabel("min size"), self.min_size)
        row(self.propose, self.progress, self.cancel)
        row(QLabel("class"), self.kind)
        grid = QGridLayout()
        for number, button in enumerate(self.tools.values()):
            grid.addWidget(button, number // 2, number % 2)
        column.addLayout(grid)
        keys = [f"<b>{key}</b> {text}" for key, (_, text) in KEYS.items() if text]
        column.addWidget(QLabel("<br>".join(keys), wordWrap=True))
        column.addWidget(self.submit)
        row(self.epochs, self.train)
        column.addWidget(self.trained)
        column.addWidget(self.message)


def _on_click(button: QPushButton, call: Callable[[], None]) -> None:
    button.clicked.connect(lambda: call())


def state_text(training: dict[str, Any]) -> str:
    """State, loss and validation of a training, the last epochs first."""
    if training["state"] == "none":
        return training["message"]
    lines = [training["state"] if training["state"] != "error" else f"error: {training['message']}"]
    if training.get("loss"):
        lines[0] += f", epoch {training['epoch']} of {training['epochs']}"
    validation = training.get("validation", {})
    shown = [name for name in ("seg", "seg/mean", "iou", "iou/mean") if name in validation][:2]
    for epoch, loss in sorted(training.get("loss", {}).items(), key=lambda pair: -int(pair[0]))[:50]:
        values = [f"{name} {validation[name][epoch]:.3f}" for name in shown if epoch in validation[name]]
        lines.append(f"epoch {epoch}  loss {loss:.4f}  " + "  ".join(values))
    return "\n".join(lines)
