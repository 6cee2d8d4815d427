# The two commands of README: make run, make test. PYTHON=... names the interpreter for .venv.
#   make quick         the tests that are not marked slow, about a minute
#   make components    the tests with real servers, launchers, kernels of notebooks, kills and whole documents
#   make test T=path   one file, folder or test; T=tests/packaging installs the wheel into fresh environments,
#                      T=tests/browser needs chromium and the extra `browser`
PYLON_DATASETS ?= datasets
export PYLON_DATASETS
# Most tests wait for processes, not for processors; the quick ones do not.
TEST_PROCESSES ?= 3
OF_CI = --ignore=tests/packaging --ignore=tests/browser
IN_PARALLEL = -n $(TEST_PROCESSES) --dist loadfile

.PHONY: run test quick components check

run:
	@scripts/environment.sh
	@.venv/bin/python -m pylon.data.change_detection.demo --root "$(PYLON_DATASETS)/demo_air_change"
	.venv/bin/python main.py --config-filepath configs/benchmarks/change_detection/demo/HANet_run_0.py

test:
	@scripts/environment.sh test
	.venv/bin/python -m pytest $(if $(T),$(T),$(IN_PARALLEL) -m "not ci" $(OF_CI))

quick:
	@scripts/environment.sh test
	.venv/bin/python -m pytest -m "not slow and not ci" $(if $(T),$(T),-n 2 --dist loadfile $(OF_CI))

components:
	@scripts/environment.sh test
	.venv/bin/python -m pytest -m ci $(IN_PARALLEL) $(OF_CI)

check:
	@scripts/environment.sh test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -q tests/test_architecture.py
