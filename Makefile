# Every target sets up what it needs by itself; the only requirement is a Python 3.11-3.13.
PYTHON ?= python3
UV := .tools/bin/uv
RUN := .venv/bin
STAMP := .venv/.installed
# Without compiled bytecode each start imports torch for fifteen seconds instead of three.
export UV_COMPILE_BYTECODE := 1
# Where this is set, as in many containers, every process of the tests would compile our files anew,
# and pytest would rewrite the assertions of all tests in every run.
export PYTHONDONTWRITEBYTECODE :=
# CPU=1 installs PyTorch without CUDA: 2 GB instead of 6.4 GB on Linux.
ifdef CPU
export UV_TORCH_BACKEND := cpu
endif

.PHONY: help setup demo test check fuzz smoke lowest light qgis format constraints clean

help:
	@echo "make setup  install everything into .venv; make setup CPU=1: PyTorch without CUDA"
	@echo "make demo   set up, then train, evaluate and predict on generated pairs"
	@echo "make test   set up, then run the tests with coverage"
	@echo "make check  set up, then lint and type-check"
	@echo "make qgis   pack the QGIS plugin into build/changedet_qgis.zip"
	@echo "make fuzz   set up, then read damaged inputs for ten minutes"

$(UV):
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv

$(STAMP): pyproject.toml constraints.txt | $(UV)
	test -x $(RUN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip install --quiet --python $(RUN)/python --constraints constraints.txt --editable '.[all]' --group dev
	touch $@

HOW_TO_CALL = @echo "To use it: $(CURDIR)/$(RUN)/changedet, or once per terminal: source $(CURDIR)/$(RUN)/activate"

setup: $(STAMP)
	$(HOW_TO_CALL)

demo: $(STAMP)
	$(RUN)/changedet demo --out demo --overwrite
	$(HOW_TO_CALL)

test: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term $(ARGS)

# Reads damaged and hostile inputs for ten minutes, or: make fuzz ARGS='--seconds 3600 --readers images'
# Goes on where it ended; counts and failing inputs are kept in build/fuzz.
fuzz: $(STAMP)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(RUN)/python -m fuzz $(ARGS)

check: $(STAMP)
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy
	! test -x $(RUN)/hadolint || $(RUN)/hadolint Dockerfile

format: $(STAMP)
	$(RUN)/ruff check --fix
	$(RUN)/ruff format

# Installs the package afresh for every other Python that is at hand and uses it a little.
OTHER_PYTHONS ?= 3.12 3.13
smoke: $(STAMP)
	UV=$(UV) .ci/smoke $(OTHER_PYTHONS)

# Installs the oldest versions that pyproject.toml allows and uses the package a little.
lowest: | $(UV)
	UV=$(abspath $(UV)) .ci/lowest

# Installs what predicts without PyTorch, measures how large that is and uses it a little.
light: | $(UV)
	UV=$(abspath $(UV)) .ci/light

# Packs the QGIS plugin, to be installed from the zip file.
qgis:
	$(PYTHON) integrations/qgis/make_zip.py build/changedet_qgis.zip

# Pins every dependency to the versions that the tests passed with.
constraints: | $(UV)
	$(UV) lock --quiet --upgrade
	$(UV) export --quiet --no-hashes --no-emit-project --all-extras --all-groups --no-header --no-annotate --output-file constraints.txt
	rm -f uv.lock

clean:
	rm -rf .tools .venv .smoke demo runs build dist .mypy_cache .ruff_cache .pytest_cache .coverage
