# Two commands: make quickstart, make test. Everything happens in .venv beside this file.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
BUNDLE := $(BIN)/python -m monai.bundle run

.PHONY: help install quickstart test test-nightly quick lint format docs bench sbom mlflow report figures label label-check label-install test-label annotate napari-install test-annotate packages test-packages zoo test-crash clean

help:
	@echo "make quickstart   install, train on synthetic cells (5 minutes on two cores), segment new images"
	@echo "make test         install and run the tests"
	@echo "make test-nightly the tests that take longest, beside make test"
	@echo "make quick        lint, and the tests of what changed: under two minutes"
	@echo "make lint         style, types, spelling, what may import what, and the pages of the site"
	@echo "make docs         build the documentation site, site/index.html"
	@echo "make mlflow       MLflow's pages on http://127.0.0.1:5000; it prints the address of the runs"
	@echo "make report       compare the runs on one page, report/index.html"
	@echo "make bench        what each hot part costs beside its peers"
	@echo "make sbom         a list of all installed packages, sbom.json"
	@echo "make label        start MONAI Label on http://127.0.0.1:8000 over the images of STUDIES=DIR"
	@echo "make annotate     the same, and napari to correct cells in; the server ends with its window"
	@echo "make test-label   install MONAI Label beside it all, and ask its real server everything"
	@echo "make test-annotate  try napari's client in a virtual display, with the real server"
	@echo "make packages     a package of bioimage.io for each network in models/, packages/NAME.zip"
	@echo "make test-packages  try them in two versions of bioimageio.core, in environments of their own"
	@echo "make zoo          stage the bundle for MONAI's model zoo and the Hugging Face hub, and verify it"
	@echo "make test-crash   a fault in every access to a file, full disks, signals; takes long"
	@echo "make figures      draw the pictures of docs/images again"

# torch comes first and pinned, so that nothing that follows replaces it; which build of it, CPU or CUDA, is for pip's
# own configuration to say (see README.md)
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test,lint,docs]"
	@touch $@

install: $(VENV)/.installed

# a name of its own each time, since no run is written over; it infers with that run and publishes nothing: a network
# of drawn cells must not be what inference uses for one's own images
QUICK := quickstart-$(shell date +%Y%m%d-%H%M%S)

quickstart: install
	$(BUNDLE) training --config_file configs/train.json --run_name $(QUICK) --publish never
	$(BUNDLE) --config_file configs/inference.json --checkpoint runs/$(QUICK)/best.pt
	@echo
	@$(BIN)/python -m bundle.metrics --truth data/synthetic/test/label --result output
	@echo "Look at output/ (cells outlined on images the network has never seen) and runs/*/pictures;"
	@echo "make mlflow opens the page with curves, parameters and pictures of every run."

# two processes: with ITK, numba, ONNX Runtime, OpenVINO and compiled torch all in one, it has crashed in a
# later test that needs none of these; apart they did not
ALONE := tests/inference/backends tests/test_benchmarks.py tests/test_benchmark_parts.py tests/test_benchmark_runs.py

# a worker for each of two cores, with one thread each
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: install
	$(PYTEST) $(ALONE:%=--ignore=%)
	$(PYTEST) $(ALONE)

# what takes longest: every command of the pages, studies, twenty kills, several processes
test-nightly: install
	$(PYTEST) -m "nightly or pages" $(ALONE:%=--ignore=%)
	$(PYTEST) -m nightly $(ALONE)

# of the branch, committed or not: see tests/quick.py
quick: lint
	@paths=$$($(BIN)/python tests/quick.py); test -z "$$paths" || { set -x; $(PYTEST) -m "not slow and not nightly" $$paths; }

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/lint-imports --no-logo --no-cache
	$(MKDOCS) --site-dir .mkdocs_check

# a mistake in a link, an anchor or a docstring is an error
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs: install
	$(MKDOCS)
	@echo "open site/index.html; with search: $(PYTHON) -m http.server -d site --bind 127.0.0.1"

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# elasticdeform is compiled on the spot; where there is no C compiler its row is left out
bench: install
	-$(BIN)/python -m pip install -q -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks

# CycloneDX: every package of .venv with its version and licence
sbom: install
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[sbom]"
	$(BIN)/cyclonedx-py environment $(BIN)/python --of JSON -o sbom.json

# the store of make label is sqlite:///.label/model/cells/runs/mlflow.db
MLFLOW_STORE ?= sqlite:///runs/mlflow.db

mlflow: install
	@echo "Open, as soon as MLflow runs:"
	@$(BIN)/python -m bundle.tracking --tracking_uri $(MLFLOW_STORE)
	exec $(BIN)/mlflow ui --backend-store-uri $(MLFLOW_STORE) --host 127.0.0.1 --port 5000

report: install
	$(BIN)/python -m bundle.report

figures: install
	$(BIN)/python docs/figures/transform_pictures.py
	$(BIN)/python docs/figures/how_it_works.py

# MONAI Label needs numpy 1, and so an environment of its own
LABEL_VENV ?= .venv-label
LABEL_PORT ?= 8000
LABEL_APP  ?= .label
STUDIES    ?= studies
LABEL_BIN  := $(LABEL_VENV)/bin

$(LABEL_VENV)/.installed: pyproject.toml constraints-label.txt
	$(PYTHON) -m venv $(LABEL_VENV)
	$(LABEL_BIN)/python -m pip install -q -c constraints-label.txt torch
	$(LABEL_BIN)/python -m pip install -q -c constraints-label.txt -e ".[label]"
	@touch $@

label-install: $(LABEL_VENV)/.installed

# 4 GB come after this only; the server's tests bring a way around a torchvision of another build
label-check:
	@test -d "$(STUDIES)" || case "$(STUDIES)" in http*://*) ;; *) echo "there is no folder $(STUDIES): make label STUDIES=DIR with your images"; exit 2;; esac
	@test -e $(LABEL_VENV)/.installed || { $(PYTHON) -m venv $(LABEL_VENV) && $(LABEL_BIN)/python -m label_app.torch_build; }

# nothing is fetched; scores are computed when asked for, not after every sample
SERVE = env MONAI_LABEL_AUTO_UPDATE_SCORING=false \
	MONAI_LABEL_DATASTORE_FILE_EXT='["*.nii.gz", "*.nii", "*.png", "*.jpg", "*.jpeg", "*.bmp", "*.tif", "*.tiff", "*.PNG", "*.JPG", "*.TIF", "*.TIFF"]' \
	$(LABEL_BIN)/python -m monailabel.main start_server --app "$(LABEL_APP)" --studies "$(STUDIES)" \
		--host 127.0.0.1 --port $(LABEL_PORT) --conf models cells --conf zoo_source local --conf sam2 false
LABEL_URL = http://127.0.0.1:$(LABEL_PORT)

# exec: it ends when make is ended
label: label-check
	@$(MAKE) --no-print-directory label-install
	$(LABEL_BIN)/python -m label_app.prepare --app "$(LABEL_APP)" $(LABEL_OPTIONS)
	@echo "Open $(LABEL_URL) as soon as the server runs: images, states, and how to go on. Viewers take the same address."
	exec $(SERVE)

# napari with a client of its own, clients/napari: it talks REST with the server and imports nothing of it
NAPARI_VENV ?= .venv-napari
NAPARI_BIN  := $(NAPARI_VENV)/bin

$(NAPARI_VENV)/.installed: clients/napari/pyproject.toml constraints-napari.txt
	@echo "napari goes into $(NAPARI_VENV): about 1 GB"
	$(PYTHON) -m venv $(NAPARI_VENV)
	$(NAPARI_BIN)/python -m pip install -q -c constraints-napari.txt -e "clients/napari[test]"
	@touch $@

napari-install: $(NAPARI_VENV)/.installed

# the server ends with the window
annotate:
	@test -e $(LABEL_VENV)/.installed || echo "To be installed: MONAI Label in $(LABEL_VENV), about 4 GB"
	@test -e $(NAPARI_VENV)/.installed || echo "To be installed: napari in $(NAPARI_VENV), about 1 GB"
	@$(MAKE) --no-print-directory label-check
	@$(MAKE) --no-print-directory label-install napari-install
	$(LABEL_BIN)/python -m label_app.prepare --app "$(LABEL_APP)" $(LABEL_OPTIONS)
	exec $(NAPARI_BIN)/python -m seamless_annotator --server $(LABEL_URL) -- $(SERVE)

# the tests run in .venv, the server in .venv-label
test-label: install label-install
	LABEL_PYTHON=$(abspath $(LABEL_BIN)/python) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/label

# the tests and napari run in .venv-napari, the server in .venv-label; without a display those of the window are skipped
test-annotate: label-install napari-install
	$(NAPARI_BIN)/npe2 validate clients/napari/seamless_annotator/napari.yaml
	cd clients/napari && LABEL_PYTHON=$(abspath $(LABEL_BIN)/python) OMP_NUM_THREADS=1 LIBGL_ALWAYS_SOFTWARE=1 \
		$(if $(shell command -v xvfb-run),xvfb-run -a -s "-screen 0 1600x1000x24") $(abspath $(NAPARI_BIN))/python -m pytest

# what a package says of its network stands in configs/packages/; without that file name yourself in PACKAGE_OPTIONS
packages: install
	@for model in $(MODELS); do \
		about=configs/packages/$$(basename $$model .pt).json; test -e $$about && about=",'$$about'" || about=""; \
		$(BUNDLE) packaging --config_file "['configs/inference.json','configs/package.json'$$about]" \
			--checkpoint $$model $(PACKAGE_OPTIONS) || exit 1; \
	done

# not what a training has published here
MODELS ?= $(filter-out models/model.pt,$(wildcard models/*.pt))

# bioimageio.core pins others' versions, and two of its versions are in use: an environment for each
PACKAGES_VENV ?= .venv-packages
EM_DATA       ?= data/isbi2012

$(PACKAGES_VENV)-%/.installed: constraints-packages.txt
	$(PYTHON) -m venv $(PACKAGES_VENV)-$*
	$(PACKAGES_VENV)-$*/bin/python -m pip install -q -c constraints-packages.txt torch onnxruntime bioimageio.core==$*
	@touch $@

# the tests run in .venv, the programs in theirs; prints the Rand errors where EM_DATA has the ISBI 2012 stack
test-packages: install $(PACKAGES_VENV)-0.9.6/.installed $(PACKAGES_VENV)-0.11.0/.installed
	PACKAGES_VENV="$(PACKAGES_VENV)" EM_DATA="$(EM_DATA)" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rPs --show-capture=stdout tests/packages

zoo: install
	$(BIN)/python -m bundle.inference.packages.zoo --to zoo/seamless_unet

# CRASH_EVERY=10 takes each tenth access; says how many there were
test-crash: install
	CRASH_EVERY=$(CRASH_EVERY) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -rP --show-capture=stdout -m crash tests/crash

CRASH_EVERY ?= 1

clean:
	rm -rf $(VENV) $(LABEL_VENV) $(NAPARI_VENV) $(PACKAGES_VENV)-* .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
