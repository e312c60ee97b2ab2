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
exec "$python" -m pytest "$@"
