"""The page at / of the server: its images with their states, and how to go on. It needs nothing from the internet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from monailabel.utils.async_tasks.task import AsyncTask
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from bundle.data.formats import natural_key
from bundle.output.label_map import NO_LABELS
from bundle.output.templates import html_templates
from label_app.watching import message_of

#: images in the table at most, those without a label first
SHOWN = 500
#: where MONAI Label's own page at / goes
OWN = "/requests"


def put_first(server: FastAPI, app: Any) -> None:
    """Answer / with this page; MONAI Label's own, which loads its scripts from the internet, moves to :data:`OWN`."""

    async def home(request: Request) -> HTMLResponse:
        return HTMLResponse(render(app, str(request.base_url).rstrip("/")))

    routes = server.router.routes
    for old in [route for route in routes if isinstance(route, Route) and route.path == "/"]:
        server.add_api_route(OWN, old.endpoint, include_in_schema=False)
        routes.remove(old)
    routes.insert(0, Route("/", home, include_in_schema=False))


def render(app: Any, address: str) -> str:
    """HTML of what the app has now.

    Args:
        app: MONAI Label's, with datastore and models.
        address: of the server, for the commands.
    """
    store = app.datastore()
    images = [_image(store, name) for name in sorted(store.list_images(), key=natural_key)]
    images.sort(key=lambda image: bool(image["label"]))
    waiting = [image["name"] for image in images if not image["label"]]
    environment = html_templates("label_app")
    return environment.get_template("home.html").render(
        address=address,
        images=images[:SHOWN],
        total=len(images),
        waiting=waiting,
        mask="mask" + (_extension(store, waiting[0]) if waiting else ".tif"),
        models=sorted(app._infers),
        trainers=sorted(app._trainers),
        strategies=sorted(app._strategies),
        studies=app.studies,
        training=_training(),
        own=OWN,
    )


def _extension(store: Any, name: str) -> str:
    """Of the mask of an image."""
    own = Path(store.get_image_uri(name)).name.removeprefix(name)
    return ".png" if own.lower() in NO_LABELS else own


def _training() -> str:
    task, _ = AsyncTask.status("train")
    if task is None:
        return "No training since the server started"
    said = "" if task["status"] == "DONE" else message_of(task)
    return f"Last training: {task['status']}{': ' if said else ''}{said}"


def _image(store: Any, name: str) -> dict[str, Any]:
    """Name, what its label (tag "final") holds, empty without one, and whether a proposal is saved (tag "original")."""
    labels = store.get_labels_by_image_id(name)
    said = ""
    if "final" in labels:
        info = store.get_label_info(labels["final"], "final")
        parts = [f"{info['cells']} cells" if "cells" in info else "label"]
        parts += [f"{info['not_annotated_px']} px not annotated"] if info.get("not_annotated_px") else []
        said = ", ".join([*parts, *([info["warning"]] if "warning" in info else [])])
    return {"name": name, "label": said, "proposal": "original" in labels}
