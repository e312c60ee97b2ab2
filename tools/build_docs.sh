#!/usr/bin/env bash
# Install what the documentation site needs and build it; a warning is an error.
#
#   bash tools/build_docs.sh [folder]    (work_dirs/site by default)
#
# Environment and library family: see environment.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

use_environment
install_package "$family,docs"
cd "$root"
out=${1:-work_dirs/site}
"$python" -m sphinx -q -W --keep-going docs "$out"
echo "Open $out/index.html"
