"""What can be checked of a command without running it: files, modules, options, targets exist."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from urllib.parse import urlparse

from bundle.console import require_known_options
from bundle.model.renamed import require_current_names
from tests.conftest import ROOT
from tests.docs.pages import words_of
from tests.docs.sandbox import CommandFailed, Sandbox

#: config files whose entries the pages name as options, beside sentences
_CONFIGS = (
    "configs/train.json",
    "['configs/train.json','configs/evaluate.json','configs/choose_cells.json']",
    "['configs/train.json','configs/networks/fcn.json']",
    "['configs/train.json','configs/volumes.json']",
)
#: these take cells#ANYTHING, too: those are asked of the configs above
_INFERENCE = (
    "configs/inference.json",
    "['configs/inference.json','configs/package.json']",
    "['configs/inference.json','configs/isbi_submission.json']",
    "['configs/train.json','configs/evaluate.json','configs/calibrate.json']",
)
_COMMANDS = (
    "bundle.data.synthetic_classes",
    "bundle.metrics",
    "bundle.large.convert",
    "bundle.studies",
    "bundle.studies.feature_maps.kernel_search",
    "bundle.report",
    "bundle.model.publish",
    "benchmarks",
    "benchmarks.annotation_loop",
    "benchmarks.peers.monai_stock",
    "label_app.prepare",
)
#: a command that takes the options of another one, too
_PASSES_ON = dict.fromkeys(
    ("bundle.studies.feature_maps", "bundle.studies.feature_maps.kernel_search"), "bundle.studies"
)
#: options of programs of others, and what stands for any option
FOREIGN = {
    **dict.fromkeys(("--gpus", "--shm-size"), "docker"),
    "--conf": "MONAI Label",
    **dict.fromkeys(("--name", "--option"), "any"),
    "--gpu_memory_target": "nnU-Net",
    "--kernels": "a grid of configs/studies/dcn_kernels.json",
}


def require_overlay(text: str, sandbox: Sandbox) -> None:
    """A config that is shown composes with train.json."""
    file = sandbox.folder / "shown.json"
    file.write_text(text)
    require_options(["--config_file", f"['configs/train.json','{file}']"])
    entries = [name for name in json.loads(text) if name != "_desc_"]
    require_options(["--config_file", "configs/train.json", *(word for name in entries for word in (f"--{name}", "0"))])


def require_options(words: Sequence[str]) -> None:
    """The options of ``monai.bundle run`` are known, and the config files compose."""
    try:
        require_current_names(words)
        require_known_options(words)
    except (ValueError, OSError, KeyError) as error:
        raise CommandFailed(str(error)) from error


def check(text: str, sandbox: Sandbox) -> bool:
    """Check what can be checked of a command without running it; False if there is nothing.

    Raises:
        CommandFailed: saying what does not exist.
    """
    words = words_of(text.lstrip("!"))
    if words[0] == "make":
        require_target(words[1:], sandbox)
    elif words[0] == "torchrun":
        require_module(words[words.index("-m") + 1 :], sandbox)
    elif words[:2] == ["python", "-m"] and not words[2].startswith(("monailabel", "venv")):
        require_module(words[2:], sandbox)
    elif words[0] == "python" and words[1].endswith(".py"):
        require_file(words[1])
    elif words[0] == "pip":
        require_file(words[words.index("-c") + 1])
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        unknown = set(re.findall(r"\w+", words[-1])) - set(extras)
        if unknown:
            raise CommandFailed(f"pyproject.toml has no extra {unknown}")
    elif words[0] == "docker":
        require_target(words[words.index("make") + 1 :], sandbox)
    elif words[0] == "curl":
        require_request(words)
    else:
        return False
    return True


def require_file(name: str) -> None:
    if not (ROOT / name).exists():
        raise CommandFailed(f"there is no file {name}")


def require_target(words: Sequence[str], sandbox: Sandbox) -> None:
    """A target of the Makefile, and its variables."""
    shown = subprocess.run(["make", "-n", "-C", str(ROOT), *words], capture_output=True, text=True)
    if shown.returncode:
        raise CommandFailed(shown.stderr)
    for word in words[1:]:
        name, _, value = word.partition("=")
        if f"$({name})" not in (ROOT / "Makefile").read_text():
            raise CommandFailed(f"the Makefile has no variable {name}")
        if name == "LABEL_OPTIONS":
            options = words_of(value)
            require_module(["label_app.prepare", *options], sandbox)
            for option in options[options.index("--option") + 1 :: 2] if "--option" in options else ():
                require_options(["--config_file", "configs/train.json", f"--{option}"])


def require_module(words: Sequence[str], sandbox: Sandbox) -> None:
    """A module, and those of its options and first arguments that its help names."""
    module, *rest = words
    try:
        missing = find_spec(module) is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        raise CommandFailed(f"there is no module {module}")
    if module == "monai.bundle":
        require_options(rest)
        return
    if not find_spec(f"{module}.__main__" if find_spec(module).submodule_search_locations else module):
        raise CommandFailed(f"{module} is no command")
    places = [place for place, word in enumerate(rest) if word.startswith("-")]
    first = [word for word in rest[: places[0] if places else None] if word.islower() and "/" not in word]
    given = [*first, *(rest[place].partition("=")[0] for place in places)]
    text = help_of(module, sandbox) if given else ""
    for word in given:
        if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text):
            raise CommandFailed(f"the help of {module} does not name {word}")
    for option, value in pairwise(rest):
        if option == "--study":
            require_file(value)


def help_of(module: str, sandbox: Sandbox) -> str:
    if module not in sandbox.help:
        sandbox.help[module] = sandbox.module([module, "--help"])
        if module in _PASSES_ON:
            sandbox.help[module] += help_of(_PASSES_ON[module], sandbox)
    return sandbox.help[module]


def require_request(words: Sequence[str]) -> None:
    """The address is the server's, JSON can be read."""
    address = urlparse(next(word for word in words if word.startswith("http")))
    if address.port != 8000:
        raise CommandFailed(f"the server listens on port 8000, not {address.port}")
    for word in words:
        if word.lstrip().startswith("{") or "={" in word:
            try:
                json.loads(word[word.index("{") :])
            except ValueError as error:
                raise CommandFailed(f"{word} is no JSON: {error}") from error


def require_known(text: str, sandbox: Sandbox) -> None:
    """Options within a sentence are those of a config, or of one of our commands.

    Raises:
        CommandFailed: with what is known.
    """
    words = words_of(text)
    if words[0].partition("#")[0] in FOREIGN:
        return
    failures = []
    for config in _CONFIGS if words[0].startswith("--cells") else (*_CONFIGS, *_INFERENCE):
        try:
            require_options(["--config_file", config, *(words if len(words) > 1 else [*words, "0"])])
            return
        except CommandFailed as error:
            failures.append(str(error))
    if not any(re.search(rf"(?<![\w-]){words[0]}(?![\w-])", help_of(module, sandbox)) for module in _COMMANDS):
        raise CommandFailed(f"{text}: {failures[0]}")
