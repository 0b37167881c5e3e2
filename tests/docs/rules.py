"""What becomes of a command of the pages: it is run, or only checked, or marked with the reason why not."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.util import find_spec
from urllib.parse import urlparse

from monai.bundle import ConfigParser

from bundle.console import require_known_options
from bundle.model.renamed import require_current_names
from tests.conftest import ROOT
from tests.docs.pages import Snippet, words_of
from tests.docs.sandbox import CommandFailed, Sandbox, quickstart

#: commands that are not run, and why; what can be checked of them is
NOT_RUN = {
    r"(source|python -m venv|pip|docker) ": "makes or enters an environment",
    r"curl ": "needs the annotation server; tests/label asks all of this",
    r"monailabel |python -m monailabel": "needs MONAI Label in an environment of its own; make test-label installs it",
    r"python -m label_app.prepare .*apps/monaibundle": "needs what the command before it downloads",
    r"make label": "starts a server; make test-label does",
    r"make mlflow": "starts a server",
    r"make (test|quick|lint|format|docs)\b": "this is what runs these tests, or what runs beside them",
    r"torchrun ": "several processes; tests/test_training.py trains with two",
    r"python -m benchmarks(\.\w+)?\b": "takes minutes to hours; tests/test_benchmark*.py run the parts",
    r"python -m bundle\.studies\.feature_maps": "needs hours of trainings; tests/studies/feature_maps run it",
}
#: a module once, as a reader starts it; all others are forked from a process that has imported everything
REAL = {("monai.bundle", "run", "training"), ("monai.bundle", "run"), ("monai.bundle", "run", "evaluating")}


def fate(snippet: Snippet) -> str:
    """"run", or the reason why not.

    Raises:
        CommandFailed: for what nobody has thought of.
    """
    if snippet.language in ("python", "json"):
        return "run"
    if snippet.language == "groovy":
        return "needs QuPath"
    if snippet.language != "bash":
        raise CommandFailed(f"{snippet}: a block of {snippet.language or 'no'} language is neither run nor in rules.py")
    for pattern, reason in NOT_RUN.items():
        if re.match(pattern, snippet.text):
            return reason
    if not re.match(r"python -m (monai\.bundle|bundle\.)|make (quickstart|report)\b", snippet.text):
        raise CommandFailed(f"{snippet}: {snippet.text} is neither run nor in NOT_RUN of rules.py")
    return "run"


def run(snippet: Snippet, sandbox: Sandbox) -> None:
    if snippet.language == "python":
        sandbox.once(snippet.text, lambda: sandbox.python(snippet.text))
    elif snippet.language == "json":
        require_overlay(snippet.text, sandbox)
    else:
        words = words_of(snippet.text)
        sandbox.once(shlex.join(words), lambda: _run(words, sandbox))


def _run(words: list[str], sandbox: Sandbox) -> None:
    if words == ["make", "quickstart"]:
        commands = quickstart()
        assert len(commands) == 3
        for command in commands:
            sandbox.module(command, real=True)
    elif words == ["make", "report"]:
        sandbox.module(["bundle.report"], real=True)
    else:
        kind = tuple(word for word in words[2:5] if not word.startswith("-"))
        sandbox.module(words[2:], real=kind in REAL - sandbox.real)
        sandbox.real.add(kind)


def require_overlay(text: str, sandbox: Sandbox) -> None:
    """A config that is shown composes with train.json."""
    file = sandbox.folder / "shown.json"
    file.write_text(text)
    require_options(["--config_file", f"['configs/train.json','{file}']"], sandbox)


def require_options(words: Sequence[str], sandbox: Sandbox) -> None:
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
                require_options(["--config_file", "configs/train.json", f"--{option}"], sandbox)


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
        require_options(rest, sandbox)
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


def help_of(module: str, sandbox: Sandbox) -> str:
    if module not in sandbox.help:
        sandbox.help[module] = sandbox.module([module, "--help"])
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


#: config files whose entries the pages name as options, beside sentences
_CONFIGS = (
    "configs/train.json",
    "['configs/train.json','configs/evaluate.json','configs/choose_cells.json']",
    "['configs/train.json','configs/networks/fcn.json']",
    "configs/inference.json",
)
_COMMANDS = (
    "bundle.studies",
    "bundle.report",
    "bundle.model.publish",
    "benchmarks",
    "benchmarks.annotation_loop",
    "benchmarks.peers.monai_stock",
    "label_app.prepare",
)
#: options of programs of others, and what stands for any option
FOREIGN = {
    **dict.fromkeys(("--gpus", "--shm-size"), "docker"),
    "--conf": "MONAI Label",
    **dict.fromkeys(("--name", "--option"), "any"),
    "--kernels": "a grid of configs/studies/dcn_kernels.json",
}


def require_known(text: str, sandbox: Sandbox) -> None:
    """Options within a sentence are those of a config, or of one of our commands.

    Raises:
        CommandFailed: with what is known.
    """
    words = words_of(text)
    if words[0].partition("#")[0] in FOREIGN:
        return
    failures = []
    for config in _CONFIGS:
        try:
            return require_options(["--config_file", config, *(words if len(words) > 1 else [*words, "0"])], sandbox)
        except CommandFailed as error:
            failures.append(str(error))
    if not any(re.search(rf"(?<![\w-]){words[0]}(?![\w-])", help_of(module, sandbox)) for module in _COMMANDS):
        raise CommandFailed(f"{text}: {failures[0]}")
