# Sourced by quickstart.sh, run_tests.sh and build_docs.sh: a Python environment with mmcomformer in it.
#
#   MMCOMFORMER_FAMILY   onedl (default) or openmmlab, the library family to install
#   PYTHON               the Python that a new environment is made from
#
# An active environment (venv or conda) is used as it is. Otherwise the checkout gets one of its
# own: .venv, or .venv-openmmlab. Installing a second time is skipped unless something changed.

export PIP_DISABLE_PIP_VERSION_CHECK=1
TORCH=torch==2.13.0

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
family=${MMCOMFORMER_FAMILY:-onedl}

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

case $family in
    onedl) environment=$root/.venv ;;
    openmmlab) environment=$root/.venv-openmmlab ;;
    *) fail "MMCOMFORMER_FAMILY is '$family', expected onedl or openmmlab" ;;
esac

# Whether interpreter $1 is at least 3.10 and below $2, written as 3.14.
is_between() {
    "$1" - "$2" 2>/dev/null <<'PY'
import sys

limit = tuple(map(int, sys.argv[1].split('.')))
sys.exit(not (3, 10) <= sys.version_info[:2] < limit)
PY
}

# Print the first Python that is new enough; if possible one for which every library of the extras
# has a ready-made package.
find_python() {
    local candidate limit
    for limit in 3.14 4.0; do
        for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python}; do
            if command -v "$candidate" >/dev/null && is_between "$candidate" "$limit"; then
                command -v "$candidate"
                return
            fi
        done
    done
    fail "no Python 3.10 or newer found (${PYTHON:-python3}:" \
        "$("${PYTHON:-python3}" --version 2>&1 || true));" \
        "install one, or name it: PYTHON=/path/to/python bash $0"
}

# Set $python to the interpreter of the active environment, or of one made in the checkout.
use_environment() {
    local active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}} base
    if [[ -n $active ]]; then
        python=$active/bin/python
        [[ -x $python ]] || fail "the active environment $active has no bin/python; deactivate it"
        is_between "$python" 4.0 ||
            fail "the active environment $active has $("$python" --version), but mmcomformer" \
                "needs Python 3.10 or newer; deactivate it to get one made here"
        return
    fi
    python=$environment/bin/python
    if "$python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    base=$(find_python)
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$base cannot make virtual environments; on Debian and Ubuntu install them with:" \
            "apt install python3-venv; or activate an environment first"
    say "Making the environment $environment with $("$base" --version)"
    is_between "$base" 3.14 ||
        echo 'Some libraries may have to be built for this Python; if that fails, use 3.10 to 3.13.'
    "$base" -m venv --clear "$environment"
}

# Install the checkout with extras ($1, separated by commas), quickly when that was done before.
install_package() {
    local stamp state
    state=$(cd "$root" && cat setup.py mmcomformer/version.py requirements/*.txt | cksum)
    state="$root $state"
    stamp=$("$python" -c 'import sys; print(sys.prefix)')/.mmcomformer-${1//,/-}
    if [[ -f $stamp && $(<"$stamp") == "$state" ]] &&
        "$python" -c 'from importlib.metadata import version; version("mmcomformer")' 2>/dev/null
    then
        return
    fi
    if ! "$python" -c 'import torch' 2>/dev/null; then
        say "Installing $TORCH (an environment that has torch keeps its own)"
        "$python" -m pip install -q "$TORCH"
    fi
    say "Installing mmcomformer[$1]"
    "$python" -m pip install -q -e "$root[$1]"
    printf '%s\n' "$state" >"$stamp"
}
