"""MONAI Label's store of a folder, for several threads and processes at once.

Its file ``datastore_v2.json`` holds what is known of all images and labels. Each change writes the whole file, and
several write it: the server, the thread that watches the folder, and the process of a training or scoring. With the
stock store one of them erases what another has just noted, such as which pixels of a label nobody annotated.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException

from bundle.atomic import remove_leftovers, replacing, write_json

_READ = (
    *("datalist", "json", "list_images", "status", "get_dataset_archive", "get_labeled_images", "get_unlabeled_images"),
    *("get_image_uri", "get_image_info", "get_label_uri", "get_label_info", "get_labels_by_image_id"),
    "_init_from_datastore_file",
)
_CHANGE = (
    *("add_image", "remove_image", "remove_label", "update_image_info", "update_label_info"),
    *("set_name", "set_description", "_reconcile_datastore"),
)


class SharedStore(LocalDatastore):
    """A folder of images of which one thread reads at a time, and one process changes what is known of it.

    A change begins with what the others have written. Labels and ``datastore_v2.json`` are written whole or not at all.
    """

    def __init__(self, datastore_path: str | os.PathLike[str], *, auto_reload: bool = False, **options: Any) -> None:
        self._thread = threading.RLock()
        Path(datastore_path).mkdir(parents=True, exist_ok=True)
        self._process = FileLock(Path(datastore_path, ".lock-changes"))
        super().__init__(str(datastore_path), auto_reload=auto_reload, **options)
        for folder in (datastore_path, *Path(self._datastore.label_path(None)).glob("*/")):
            remove_leftovers(folder)
        if auto_reload:
            self._handler.on_moved = self._on_moved

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While nobody else changes anything, beginning with the latest."""
        with self._thread, self._process:
            self._config_ts = 0.0  # read again, however coarse the clock of the file system is
            self._init_from_datastore_file()
            yield

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """As the stock one, but a training never reads half a label."""
        with self.changing():
            image = self._datastore.objects.get(image_id)
            if not image:
                raise ImageNotFoundException(f"Image {image_id} not found")
            _, extension = self._to_id(os.path.basename(label_filename))
            name = self._filename(image_id, extension)
            target, before = Path(self._datastore.label_path(label_tag), name), dict(image.labels)
            info = {**(label_info or {}), "ts": int(time.time()), "name": name}
            try:
                with replacing(target) as part:
                    shutil.copyfile(label_filename, part)
                    image.labels[label_tag] = DataModel(info=info, ext=extension)
                    self._update_datastore_file()  # before the label gets its name: that fails last
            except OSError:
                image.labels.clear()
                image.labels.update(before)
                with suppress(OSError):  # it may hold the entry already
                    self._update_datastore_file()
                raise
        return image_id

    def _update_datastore_file(self, lock: bool = True) -> None:
        write_json(self._datastore_config_path, self._datastore.model_dump(exclude={"base_path"}))
        self._config_ts = os.stat(self._datastore_config_path).st_mtime

    def _on_moved(self, event: Any) -> None:
        """A file written in one step, or renamed by a person: the stock store looks at neither."""
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
        else:
            self.refresh()


def _in_turn(method: Callable[..., Any], change: bool) -> Callable[..., Any]:
    @wraps(method)
    def taking_turns(self: SharedStore, *args: Any, **kwargs: Any) -> Any:
        with self.changing() if change else self._thread:
            return method(self, *args, **kwargs)

    return taking_turns


for _name in (*_READ, *_CHANGE):
    setattr(SharedStore, _name, _in_turn(getattr(LocalDatastore, _name), _name in _CHANGE))
