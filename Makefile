# The commands of gradwitness. Nothing is needed before them but Python 3.11 (or later) and make.
BIN := .venv/bin
# Written after a successful install: the environment is reused until the dependencies change.
STAMP := .venv/.installed
WORKERS ?= 2

.PHONY: help venv report test check campaign clean

help:
	@echo "make venv      create or reuse .venv with everything installed"
	@echo "make report    run every comparison, leave out/report.html"
	@echo "make test      run the default test suite"
	@echo "make check     ruff, and mypy --strict on reference_engine and reports"
	@echo "make campaign  run the tests that take minutes (GRADWITNESS_CAMPAIGN=short for their short form)"
	@echo "make clean     remove outputs and caches; .venv stays"

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/pip || { \
	  for candidate in $(PYTHON) python3.11 python3 python; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      $$candidate -m venv .venv && exit 0; exit 1; \
	    fi; \
	  done; \
	  echo "make venv: found no Python 3.11 or later among: $(PYTHON) python3.11 python3 python." \
	       "Install Python 3.11, or name one: make venv PYTHON=/path/to/python." >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

report: venv
	$(BIN)/gradwitness run --out out

test: venv
	$(BIN)/python -m pytest -n $(WORKERS)

# Layout is not enforced by a formatter: tables of rules are aligned by hand, to be read across.
check: venv
	$(BIN)/ruff check .
	@mkdir -p .types && ln -sfn .. .types/gradwitness
	MYPYPATH=.types $(BIN)/mypy --strict --explicit-package-bases -p gradwitness.reference_engine -p gradwitness.reports

# pytest answers 5 when no test carries the marker; that is no failure.
campaign: venv
	@$(BIN)/python -m pytest -m campaign -n $(WORKERS); status=$$?; \
	if [ $$status -eq 5 ]; then echo "make campaign: no test carries the marker 'campaign'."; exit 0; fi; exit $$status

clean:
	rm -rf out build dist *.egg-info .types .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
