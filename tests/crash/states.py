"""What is left after a fault: the same state needs no second look at how it is got over."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

#: names and times differ, though nothing else does
_SIZES = (".json", ".csv", ".txt", ".db", ".png")


def state_of(*places: Path) -> str:
    """Tells apart what there is: files by their content, the small ones by their length; half written ones by place."""
    found: dict[str, object] = {}
    for number, place in enumerate(places):
        for path in sorted([place, *place.rglob("*")] if place.is_dir() else [place]):
            parts = path.relative_to(place.parent).parts[1:]
            name = f"{number}/{'/'.join('PART' if part.endswith('.part') else part for part in parts)}"
            if any(part.endswith(".part") for part in parts[:-1]) or not path.is_file():
                found[name] = path.exists()
            elif path.suffix in _SIZES:
                found[name] = len(path.read_bytes().splitlines())
            else:
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return json.dumps(found)
