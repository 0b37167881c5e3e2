"""What this bundle refuses, as an answer to a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from bundle.console import own_cause


class Unusable(ValueError):
    """What a request brought and this app cannot use."""


@contextmanager
def as_422() -> Iterator[None]:
    """What this bundle refuses, an image or a parameter, is the request's fault and not the server's."""
    try:
        yield
    except HTTPException:
        raise
    except Exception as error:
        cause = error if isinstance(error, Unusable) else own_cause(error)
        if cause is None:
            raise
        raise HTTPException(422, str(cause)) from error
