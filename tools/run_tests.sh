#!/usr/bin/env bash
# Install what the tests need and run them.
#
#   bash tools/run_tests.sh [pytest arguments]
#
# Environment and library family: see environment.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

use_environment
install_package "$family,tests"
cd "$root"
# two files at a time on two cores; -n 0 runs one after the other, as a debugger needs it
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
