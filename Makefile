# `make run` draws four pictures; `make test` checks the whole house. Either sets everything up first, on a machine
# with Python 3.11 or newer (another one than python3: make PYTHON=python3.12 run). `make help` lists the rest.

PYTHON ?= python3
PRESET ?= cpu
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet install

run: .venv/plain ## draw four pictures with the model that comes with Sumi
	$(BIN)/python examples/four_stickers.py

# Small tensors gain nothing from threads that wait for each other: one a worker, a worker a core.
test: .venv/dev ## lint, types, import rule and tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal

artwork: .venv/train artwork/cldr/en.xml ## fetch the drawings that the model is trained on (needs npm; ART=openmoji: one more set)
	@packages="$$($(BIN)/sumi data artwork --npm $(foreach name,$(ART),--art $(name)))"; [ -z "$$packages" ] \
	  || npm install --prefix artwork --no-save --no-package-lock --ignore-scripts $$packages

# Keep glibc from handing large buffers back after every operation: up to 16% faster where they are large (LOG.md).
train: export MALLOC_MMAP_MAX_ = 0
train: export MALLOC_TRIM_THRESHOLD_ = 100000000000
train: export MALLOC_TOP_PAD_ = 268435456
train: .venv/train artwork ## rebuild the model from the artwork (PRESET=cpu or gpu); resumes where it stopped
	$(BIN)/sumi train sticker --preset $(PRESET)

audit: .venv/plain .venv/audit/bin/bandit ## bandit over src, and known vulnerabilities of the packages in .venv
	@.venv/audit/bin/python .ci/audit.py $(BIN)/python

sbom: .venv/plain .venv/audit/bin/bandit ## list the packages in .venv as CycloneDX, in dist/sbom.cdx.json
	@.venv/audit/bin/python .ci/sbom.py $(BIN)/python dist/sbom.cdx.json

clean: ## remove what is quickly made again; artwork, runs and pictures stay
	rm -rf .venv .*_cache .hypothesis dist
	find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

help: ## list these
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | awk -F '|' '{ printf "  make %-8s  %s\n", $$1, $$2 }'

.DELETE_ON_ERROR:
.PHONY: run test artwork train audit sbom clean help

# The environment. Where Python comes without ensurepip, the pip beside it does the same work. -------------------------

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("Sumi needs Python 3.11 or newer: make PYTHON=…")'
	@$(PYTHON) -m venv .venv || { $(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --python .venv install pip; }

.venv/plain: pyproject.toml | .venv/bin/python
	@echo "setting up .venv: PyTorch is large, so the first time takes some minutes"
	@$(PIP) --editable .
	@touch $@

.venv/train .venv/dev: .venv/%: pyproject.toml | .venv/bin/python
	@echo "setting up .venv with [$*]: PyTorch is large, so the first time takes some minutes"
	@$(PIP) --editable '.[$*]'
	@touch $@ .venv/plain

# The tools that audit stand apart, so that they do not count among what they audit.
.venv/audit/bin/bandit: | .venv/bin/python
	@$(BIN)/python -m venv .venv/audit || { $(BIN)/python -m venv --clear --without-pip .venv/audit \
	  && $(PYTHON) -m pip --python .venv/audit install pip; }
	@.venv/audit/bin/python -m pip --disable-pip-version-check --quiet install \
	  'bandit>=1.8,<2' 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3'

# The artwork, by name and pinned version; without CLDR's keywords (from Debian) the everyday synonyms serve. ----------

artwork/cldr/en.xml:
	@mkdir -p $(@D)
	-cd $(@D) && apt-get download unicode-cldr-core && dpkg-deb --fsys-tarfile unicode-cldr-core_*.deb \
	  | tar --extract --to-stdout ./usr/share/unicode/cldr/common/annotations/en.xml > en.part \
	  && mv en.part en.xml && rm unicode-cldr-core_*.deb
