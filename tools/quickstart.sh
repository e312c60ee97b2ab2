#!/usr/bin/env bash
# From nothing to a result: install, generate the Shapes dataset, train CoMFormer on its three
# steps and print the table. What is done already is not done again.
#
#   bash tools/quickstart.sh [tools/train.py arguments]
#
#   MMCOMFORMER_TASK   panoptic (default) or semantic, which segmentation to learn
#
# Environment and library family: see environment.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

case ${MMCOMFORMER_TASK:-panoptic} in
    panoptic) config=comformer_shapes_6-3 ;;
    semantic) config=comformer_shapes_semantic_6-3 ;;
    *) fail "MMCOMFORMER_TASK is '$MMCOMFORMER_TASK', expected panoptic or semantic" ;;
esac
work_dir=work_dirs/$config

use_environment
install_package "$family"
cd "$root"

say 'Generating the dataset in data/shapes'
"$python" tools/make_shapes.py --out data/shapes

say "Training: mim train mmcomformer configs/$config.py --resume $*"
"$python" - <<'PY'
import torch

if not torch.cuda.is_available():
    print('No accelerator found: on 2 idle CPU cores the three steps take about 5 minutes.')
PY
if [[ $family == openmmlab ]]; then
    # openmim finds an editable installation on PYTHONPATH only (onedl-mim anywhere but there),
    # and warns about its own imports
    export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
    export PYTHONWARNINGS='ignore:pkg_resources is deprecated as an API'
fi
"$(dirname "$python")/mim" train mmcomformer "configs/$config.py" --resume "$@"

say 'Result'
"$python" tools/report.py "$work_dir"

cat <<END

Environment              $("$python" -c 'import sys; print(sys.prefix)')
Look at the run          $root/$work_dir/report.html
Checkpoints and logs     $root/$work_dir/step*/
Results as JSON          $root/$work_dir/summary.json
Print the table again    $python tools/report.py $work_dir
END
