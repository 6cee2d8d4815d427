#!/usr/bin/env bash
# Makes .venv with the pinned dependencies, or reports in one line why it cannot. Quick when nothing changed.
#   scripts/environment.sh         what a run needs
#   scripts/environment.sh test    the test tools too
set -euo pipefail
cd "$(dirname "$0")/.."

extras=${1:-}
torch_release=2.13.0
needed_mib=2500

fail() { printf 'environment: %s\n' "$1" >&2; exit 1; }
say() { printf '== %s\n' "$1"; }

suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }

release() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

check_chosen_python() {
    suitable "$PYTHON" || fail "PYTHON is '$PYTHON', expected a Python 3.11, 3.12 or 3.13 that runs; it gives: $("$PYTHON" --version 2>&1 | head -n 1). Name another one, or leave PYTHON out."
    if [ -x .venv/bin/python ] && suitable .venv/bin/python && [ "$(release "$PYTHON")" != "$(release .venv/bin/python)" ]; then
        fail "PYTHON is '$PYTHON' ($(release "$PYTHON")), but .venv holds Python $(release .venv/bin/python). Move .venv away and repeat, or leave PYTHON out."
    fi
}

find_python() {
    local candidate
    # It was checked before.
    if [ -n "${PYTHON:-}" ]; then command -v "$PYTHON"; return; fi
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if suitable "$candidate"; then command -v "$candidate"; return; fi
    done
    fail "no Python 3.11, 3.12 or 3.13 found (python3 is: $(python3 --version 2>&1 || echo absent)). Install one, or name it: PYTHON=/path/to/python3.12 make run"
}

explain_pip() {
    if grep -q 'No space left on device' "$1"; then
        fail "the disk is full: $(df -Pm . | awk 'NR==2 {print $4}') MiB free here, about $needed_mib MiB needed. Free some and repeat."
    fi
    if grep -qE 'Temporary failure in name resolution|Failed to establish a new connection|Network is unreachable|Connection (refused|timed out)|ProxyError|NameResolutionError' "$1"; then
        fail "the package index cannot be reached. Check the network or proxy (pip config list), then repeat. Log: $1"
    fi
    fail "pip failed, its last line: $(grep -E 'ERROR|error' "$1" | tail -n 1). Log: $1"
}

install() {
    local status
    set +e
    .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt "$@" 2>&1 | tee -a "$log" \
        | grep -E --line-buffered '^(Collecting|Downloading|Installing|Successfully)|ERROR'
    status=${PIPESTATUS[0]}
    set -e
    [ "$status" -eq 0 ] || explain_pip "$log"
}

[ -z "${PYTHON:-}" ] || check_chosen_python

stamp=.venv/.pylon-${extras:-run}
fingerprint=$(cat pyproject.toml constraints.txt scripts/environment.sh | cksum)
complete() { [ "$(cat "$1" 2>/dev/null)" = "$fingerprint" ]; }
# The test environment has all that a run needs.
if [ -x .venv/bin/python ] && suitable .venv/bin/python && { complete "$stamp" || complete .venv/.pylon-test; }; then
    say "environment: .venv is up to date"
    exit 0
fi

python=$(find_python)
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv module. On Debian or Ubuntu: apt-get install python3-venv"
if [ ! -x .venv/bin/python ]; then
    free_mib=$(df -Pm . | awk 'NR==2 {print $4}')
    [ "$free_mib" -ge "$needed_mib" ] || fail "$free_mib MiB free on this disk, about $needed_mib MiB needed for .venv. Free some and repeat."
    say "environment 1/3: making .venv with $("$python" --version)"
    "$python" -m venv .venv || fail "could not make .venv with $python"
fi
suitable .venv/bin/python || fail ".venv holds an interpreter that is not Python 3.11 to 3.13. Move .venv away and repeat."

log=.venv/install.log
: > "$log"
# Torch alone first: with the rest it could be resolved to another build than the pinned one.
say "environment 2/3: installing torch $torch_release (the largest part, minutes on a slow line)"
install "torch==$torch_release"
say "environment 3/3: installing the other dependencies${extras:+ and the $extras tools}"
install -e ".[train${extras:+,$extras}]"
printf '%s' "$fingerprint" > "$stamp"
say "environment: ready"
