# The commands of gradwitness. Nothing is needed before them but Python 3.11 (or later) and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Written after a successful install: the environment is reused until the dependencies change.
STAMP := .venv/.installed

.PHONY: venv
venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
