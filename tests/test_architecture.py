"""The rooms stay few, each is on the map, and the contract of imports knows them all."""

import tomllib

from tests.conftest import ROOT

ROOMS = {path.parent.name for path in (ROOT / "bundle").glob("*/__init__.py")}
LOOSE = {path.stem for path in (ROOT / "bundle").glob("*.py")} - {"__init__"}


def test_rooms_and_loose_modules_are_few():
    assert len(ROOMS) <= 12, sorted(ROOMS)
    assert len(LOOSE) <= 3, sorted(LOOSE)


def test_every_room_is_on_the_map():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in ROOMS if f"`bundle/{name}/`" not in text] == []
    assert [name for name in LOOSE if f"`bundle/{name}.py`" not in text] == []


def test_every_room_has_its_layer():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = " ".join(settings["contracts"][0]["layers"]).split()
    assert sorted(name for name in layers if name.startswith("bundle.")) == sorted(f"bundle.{x}" for x in ROOMS | LOOSE)
    assert set(layers) - {"|"} > {"transforms", "label_app", "benchmarks"}
