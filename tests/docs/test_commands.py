"""Every command and snippet of the pages is run at a tiny size, or checked, or listed with the reason why not."""

from __future__ import annotations

import re
from collections import Counter
from inspect import signature
from pydoc import locate

import pytest

from bundle.data.synthetic import TEST_COUNT, make_dataset
from bundle.inference.passes import dropout_passes
from bundle.training import choose_cells
from docs import hooks
from tests.conftest import ROOT
from tests.docs import checks, rules
from tests.docs.pages import Snippet, blocks, mentioned, pages, spans
from tests.docs.sandbox import CommandFailed, Sandbox
from tests.warm import warm

PAGES = pages()
pytestmark = pytest.mark.pages
#: a file or a folder
FILE = re.compile(r"[\w.*/-]+\.(json|py|md|toml|txt|pt|csv|tif|png|html|db)|[\w.*-][\w.*/-]*/[\w.*/-]*")
#: made by what is not run here
ELSEWHERE = {
    ".venv": "make install",
    ".label": "make label",
    "new_images/labels": "the annotation server",
    "labels/": "the annotation server",
    "a.tif": "the annotation server",
    "new_images/drafts": "the annotation server",
    "*.1.kept.tif": "the annotation server",
    "packages/": "make packages, with all that stands in a package:",
    "weights.pt": "the same",
    "zoo/": "make zoo",
    "output/gpu": "minutes on a GPU, with all that stands in it:",
    "report.md": "the same",
    **dict.fromkeys(("iou/", "dice/", "seg/"), "a metric of one class"),
    "site/": "make docs",
    "sbom.json": "make sbom",
    "runs/networks": "a study",
    "runs/dcn_kernels/feature_maps": "a study, with all that stands in it:",
    **dict.fromkeys(("runs/RUN", "sheet.png", "statistics.csv", "rule.md", "pairs.csv"), "a study"),
    "output/annotation_loop": "hours of annotation in simulation, with all that stands in it:",
    **dict.fromkeys(("results.csv", "summary.md", "curve.png", "rounds"), "the same"),
    **dict.fromkeys(("image/a.", "label/a.", "transforms.py", "bundle.py", "01_RES/maskTTT.tif"), "an example"),
}
FOUND = [snippet for page, text in PAGES.items() for snippet in blocks(page, text)]
MENTIONED = [snippet for page, text in PAGES.items() for snippet in mentioned(page, text)]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with warm() as context:
        yield Sandbox(tmp_path_factory.mktemp("pages") / "bundle", context)


def run_or_check(snippet: Snippet, sandbox: Sandbox) -> str:
    """What became of it: "run", "checked" or "marked"."""
    if rules.fate(snippet) == "run":
        rules.run(snippet, sandbox)
        return "run"
    return "checked" if snippet.language == "bash" and checks.check(snippet.text, sandbox) else "marked"


def _of_page(snippet: Snippet) -> object:
    first = snippet.page in ("README.md", "docs/get_started.md")
    return pytest.param(snippet, marks=() if first else pytest.mark.nightly)


@pytest.mark.parametrize("snippet", map(_of_page, FOUND), ids=str)
def test_it_does_what_it_says(snippet, sandbox, monkeypatch):
    monkeypatch.chdir(sandbox.folder)
    before = sandbox.seconds
    sandbox.became[snippet] = run_or_check(snippet, sandbox), sandbox.seconds - before


@pytest.mark.parametrize("page", sorted({snippet.page for snippet in MENTIONED}))
def test_what_a_sentence_mentions_exists(page, sandbox, monkeypatch):
    monkeypatch.chdir(sandbox.folder)
    wrong = []
    for snippet in MENTIONED:
        if snippet.page == page:
            try:
                if snippet.text.startswith("--"):
                    checks.require_known(snippet.text, sandbox)
                else:
                    checks.check(snippet.text, sandbox)
            except CommandFailed as error:
                wrong.append(f"{snippet}: {error}")
    assert wrong == []


@pytest.mark.parametrize(
    ("page", "text", "broken", "message"),
    [
        (
            "README.md",
            "--dataset_dir mydata",
            "--dataset_dr mydata",
            "unknown option --dataset_dr: did you mean --",
        ),
        ("README.md", "configs/inference.json", "configs/inferenc.json", "inferenc.json"),
        ("README.md", "--dataset_dir new_images", "--dataset_dir newimages", "newimages"),
        ("README.md", "make test", "make tset", "is neither run nor in NOT_RUN"),
        ("docs/README.md", "results --tta d4", "results --averaging d4", "option --averaging is called --tta now"),
        (
            "docs/evaluate.md",
            "bundle.metrics --truth",
            "bundle.metrics.ct --truth",
            "No module named bundle.metrics.ct",
        ),
        ("docs/evaluate.md", "make mlflow", "make mlflowui", "No rule to make target"),
        ("docs/evaluate.md", "--minutes 480", "--mins 480", "mins"),
        ("docs/evaluate.md", "import MEASURES,", "import MEASURE,", "cannot import name 'MEASURE'"),
        ("docs/evaluate.md", "```python\n", "```\n", "a block of no language"),
        ("docs/train_and_segment.md", "configs/multi_gpu_train.json", "configs/multi_gpu.json", "multi_gpu.json"),
        ("docs/large_images.md", '-e ".[large]"', '-e ".[lage]"', "no extra"),
        ("docs/results/networks.md", "benchmarks window --full", "benchmarks wind --full", "does not name wind"),
        ("docs/get_started.md", "source .venv", "conda activate .venv", "bin/activate is neither run nor in NOT_RUN"),
        ("docs/annotate.md", '{"max_epochs": 20}', '{"max_epochs": 20', "is no JSON"),
    ],
)
def test_a_broken_line_is_noticed(page, text, broken, message, sandbox, monkeypatch):
    monkeypatch.chdir(sandbox.folder)
    assert text in PAGES[page]
    known = {snippet.text for snippet in FOUND}
    changed = [
        one for one in blocks(page, PAGES[page].replace(text, broken, 1)) if one.text not in known or not one.language
    ]
    assert changed
    with pytest.raises(CommandFailed, match=re.escape(message)):
        run_or_check(changed[0], sandbox)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--cells#treshold 0.6", "did you mean --cells#threshold"),
        ("--cells#outline 0.3", "is called --cells#low_threshold now"),
        ("make labels STUDIES=new_images", "No rule to make target"),
        ("make label IMAGES=new_images", "no variable IMAGES"),
        ("python -m bundle.data.download isbi2013 --dest data", "does not name isbi2013"),
        ("python -m bundle.geometry", "is no command"),
        ("python docs/figures/metric_tables.py", "no file"),
    ],
)
def test_a_wrong_mention_is_noticed(text, message, sandbox, monkeypatch):
    monkeypatch.chdir(sandbox.folder)
    with pytest.raises(CommandFailed, match=re.escape(message)):
        (checks.require_known if text.startswith("--") else checks.check)(text, sandbox)


def test_a_config_that_is_shown_composes(sandbox, monkeypatch):
    monkeypatch.chdir(sandbox.folder)
    rules.run(Snippet("page.md", 1, "json", '{"max_epochs": 3, "cells#threshold": 0.6}'), sandbox)
    for entry, message in (("max_epoch", "did you mean"), ("freeze_norm", "freeze_norm_after")):
        with pytest.raises(CommandFailed, match=message):
            rules.run(Snippet("page.md", 1, "json", f'{{"{entry}": 3}}'), sandbox)


def test_no_exception_is_stale():
    texts = [snippet.text for snippet in FOUND if snippet.language == "bash"]
    for pattern in rules.NOT_RUN:
        assert any(re.match(pattern, text) for text in texts), pattern


def test_files_that_the_pages_name_are_there(sandbox):
    """In the repository, or made by the commands of the pages."""
    if len(sandbox.became) < len(FOUND):
        pytest.skip("not all commands were run")
    missing = []
    for page, text in PAGES.items():
        for span in spans(page, text):
            name = re.sub("NAME|^(?=_)", "*", span.text).rstrip("/")
            if FILE.fullmatch(span.text) and not name.startswith(tuple(ELSEWHERE)):
                folders = (ROOT, *(ROOT / part for part in ("configs", "bundle", "transforms")), sandbox.folder)
                if not any(any(folder.rglob(name)) for folder in folders[1:]) and not any(ROOT.glob(name)):
                    missing.append(f"{span}: {span.text}")
    assert missing == []


def test_parts_that_the_pages_name_exist():
    names = {span.text for page, text in PAGES.items() for span in spans(page, text)}
    parts = {name for name in names if re.fullmatch(r"(bundle|transforms|benchmarks)(\.(?!py\b)\w+)+", name)}
    assert len(parts) > 5
    assert {name for name in parts if locate(name) is None} == set()


def test_defaults_that_the_pages_tell():
    """Those of the reference are the configs' own (docs/hooks.py)."""
    train = hooks.read("train")
    gpu, cpu = re.findall(r"\d+", train["base_channels"])
    tile_gpu, tile_cpu = re.findall(r"\d+", train["tile_size"])
    drawn = signature(make_dataset).parameters
    height, width = drawn["size"].default
    rate = train["optimizer"]["lr"]
    for page, sentence in {
        "docs/get_started.md": f"{gpu} channels instead of {cpu}, tiles of {tile_gpu} px instead of {tile_cpu} px",
        "docs/README.md": f"{drawn['count'].default} labelled images of {height} x {width} px and {TEST_COUNT} for",
        "docs/how_it_works.md": f"warm-up to {rate}, then a cosine",
        "docs/evaluate.md": f"fewer than {choose_cells._ENOUGH} annotated cells",
        "docs/annotate.md": f"{signature(dropout_passes).parameters['passes'].default} passes with dropout",
    }.items():
        assert sentence in " ".join(PAGES[page].split()), sentence
    card = " ".join(PAGES["docs/README.md"].split())
    for part in (
        f"Width | {gpu} on a GPU, {cpu} on a CPU",
        f"seed {drawn['seed'].default}",
        f"learning rate of {rate}",
    ):
        assert part in card


def test_each_command_is_counted(sandbox, capsys):
    """The last test: what became of all that was found."""
    if len(sandbox.became) < len(FOUND):
        pytest.skip("not all commands were run")
    columns = ("run", "checked", "marked")
    rows, total = [("page", "found", *columns, "CPU s")], Counter()
    for page in dict.fromkeys(snippet.page for snippet in FOUND):
        became = [sandbox.became[snippet] for snippet in FOUND if snippet.page == page]
        count = Counter(name for name, _ in became)
        total += count
        rows.append((page, len(became), *(count[name] for name in columns), f"{sum(s for _, s in became):.1f}"))
    rows.append(("all", len(FOUND), *(total[name] for name in columns), f"{sandbox.seconds:.1f}"))
    assert total.total() == len(FOUND)
    with capsys.disabled():
        print("", *(f"{row[0]:26}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows), sep="\n")
