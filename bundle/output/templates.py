"""HTML pages from templates."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["html_templates"]


def html_templates(package: str) -> Environment:
    """The templates beside the modules of a package: what is put in is escaped, and what is missing is an error."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
