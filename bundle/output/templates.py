"""HTML pages from templates, with their pictures inside."""

from __future__ import annotations

import base64
import io
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image


def data_uri(picture: Image.Image, kind: str, **options: Any) -> str:
    """A picture as the source of an image within the page; ``kind`` and ``options`` as Pillow saves it."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def html_templates(package: str) -> Environment:
    """The templates beside the modules of a package: what is put in is escaped, and what is missing is an error."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
