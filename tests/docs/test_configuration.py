"""The configuration reference describes every entry of the configs, and no other."""

import pytest

from docs import hooks

DESCRIBED = {name: [key for group in groups.values() for key in group] for name, groups in hooks.descriptions().items()}


@pytest.mark.parametrize("name", hooks.CONFIGS)
def test_every_entry_is_described_once(name):
    entries = {key for key in hooks.read(name) if "#" not in key} - {"_desc_"}
    assert entries - set(DESCRIBED[name]) == set(), "docs/configuration.toml lacks these"
    assert len(DESCRIBED[name]) == len(set(DESCRIBED[name]))


@pytest.mark.parametrize("name", hooks.CONFIGS)
def test_no_description_is_stale(name):
    config = hooks.read(name)
    for key in DESCRIBED[name]:
        hooks.entry(config, key)  # raises KeyError


def test_a_block_of_options_is_described_in_full():
    cells = {f"cells#{key}" for key in hooks.read("train")["cells"] if not key.startswith("_")}
    assert cells <= set(DESCRIBED["train"])


def test_every_overlay_says_what_it_does():
    for path in (hooks.ROOT / "configs").rglob("*.json"):
        if path.stem != "metadata":
            assert f"### {path.relative_to(hooks.ROOT)}" in hooks.reference() or path.stem in hooks.CONFIGS, path


def test_values_are_shown_in_one_line():
    assert hooks.shown({"_target_": "a.b.Sgd", "lr": 0.1, "params": "@network"}) == "Sgd(lr=0.1, params=@network)"
    assert hooks.shown({"a": 1, "b": 2}) == "{a, b}"
    assert hooks.shown([None, True, "$x + 1", "text"]) == '[null, true, $x + 1, "text"]'
    assert hooks.cell("a|b" * 100) == "`" + ("a|b" * 100)[:109].replace("|", "\\|") + "…`"
