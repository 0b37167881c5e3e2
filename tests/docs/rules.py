"""What becomes of a command of the pages: it is run, or only checked, or marked with the reason why not."""

from __future__ import annotations

import re

from tests.docs.checks import check, require_overlay
from tests.docs.pages import Snippet, words_of
from tests.docs.sandbox import CommandFailed, Sandbox, effective, quickstart

#: commands that are not run, and why; what can be checked of them is
NOT_RUN = {
    r"(source|python -m venv|pip|docker) ": "makes or enters an environment",
    r"curl ": "needs the annotation server; tests/label asks all of this",
    r"monailabel |python -m monailabel": "needs MONAI Label in an environment of its own; make test-label installs it",
    r"python -m label_app.prepare .*apps/monaibundle": "needs what the command before it downloads",
    r"python -m label_app.prepare .*class_names": "makes an app for MONAI Label; tests/label starts one",
    r"make label": "starts a server; make test-label does",
    r"make annotate|make napari-install|\.venv-napari/": "needs napari's environment; make test-annotate",
    r"make mlflow": "starts a server",
    r"dask (scheduler|worker) ": "starts a server; tests/crash/test_large.py does",
    r"python docs/slurm_cluster\.py": "needs Slurm",
    r"python -m monai\.bundle run .*--workers ": "starts processes; tests/large/test_cluster.py does",
    r"python -m monai\.bundle run .*--cluster tcp://": "needs that scheduler; tests/crash/test_large.py starts one",
    r"python -m monai\.bundle run packaging": "takes a minute; tests/inference/test_packages.py makes one",
    r"make (test|quick|lint|format|docs)\b": "this is what runs these tests, or what runs beside them",
    r"python -m pytest ": "one of these tests",
    r"python -m monai\.bundle run training .*data/vnc-volume": "needs volumes that the small data sets here lack",
    r"python docs/figures/": "draws from data sets and networks of hours",
    r"torchrun ": "several processes; tests/test_training.py trains with two",
    r"python tests/crash/fuzz_readers\.py": "needs atheris, and takes minutes",
    r"python -m benchmarks(\.\w+)?\b": "takes minutes to hours; tests/test_benchmark*.py run the parts",
    r"python -m bundle\.studies .*/(recipe_|context_vnc|dic_paper)": "validates on images that the small data lack",
    r"python -m bundle\.studies\.feature_maps": "needs hours of trainings; tests/studies/feature_maps run it",
}


def fate(snippet: Snippet) -> str:
    """ "run", or the reason why not.

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
        if words[2:4] == ["monai.bundle", "run"]:
            check(snippet.text, sandbox)  # in a moment, and of a value that the tiny size replaces
        sandbox.once(effective(words), lambda: _run(words, sandbox))


def _run(words: list[str], sandbox: Sandbox) -> None:
    if words == ["make", "quickstart"]:
        commands = quickstart()
        assert len(commands) == 3
        for command in commands:
            sandbox.module(command, real=command[0] == "monai.bundle")
    elif words == ["make", "report"]:
        sandbox.module(["bundle.report"])
    else:
        sandbox.module(words[2:])
