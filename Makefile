# The two commands of README: make run, make test. PYTHON=... names the interpreter for .venv.
PYLON_DATASETS ?= datasets
export PYLON_DATASETS
# Most tests wait for processes, not for processors. Real processes are killed beside each other, so one
# that fails is tried once more; the summary shows it.
TEST_PROCESSES ?= 3

.PHONY: run test check

run:
	@scripts/environment.sh
	@.venv/bin/python -m pylon.data.change_detection.demo --root "$(PYLON_DATASETS)/demo_air_change"
	.venv/bin/python main.py --config-filepath configs/benchmarks/change_detection/demo/HANet_run_0.py

test:
	@scripts/environment.sh test
	.venv/bin/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --reruns 1

check:
	@scripts/environment.sh test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -q tests/test_architecture.py
