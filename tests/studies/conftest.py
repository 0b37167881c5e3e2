"""Studies small enough to be read, and one that trains in seconds."""

from __future__ import annotations

import json

import pytest

from tests.conftest import TINY

STUDY = {
    "_desc_": "What is left when something is left out",
    "title": "A tiny study",
    "config_files": ["configs/train.json"],
    "options": {**TINY, "held_out": 1},
    "seeds": [0, 1],
    "variants": {
        "all": {"label": "full recipe"},
        "border": {"label": "without border weight", "options": {"weight_map#w0": 0.0}},
    },
    "evaluation": {"config_files": ["configs/evaluate.json"], "part": "held_out", "tta": ["none"]},
    "metrics": {"pixel_error": "pixel error", "iou": "IoU"},
}


@pytest.fixture(scope="session")
def study_file(tmp_path_factory):
    """Writes a study file: that of ``STUDY`` with other entries; an entry of None is left out."""

    def write(name="tiny", **entries):
        content = {key: value for key, value in {**STUDY, **entries}.items() if value is not None}
        path = tmp_path_factory.mktemp("study") / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    return write
