#!/usr/bin/env bash
# Train with one process per GPU (or per CPU share where there is no GPU).
#
#   bash tools/dist_train.sh CONFIG GPUS [tools/train.py arguments]
#
# Several machines: run it on each with NNODES, NODE_RANK (0 on the first), MASTER_ADDR and PORT.
set -euo pipefail

if (($# < 2)); then
    echo "usage: $0 CONFIG GPUS [tools/train.py arguments]" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$(dirname "${BASH_SOURCE[0]}")/train.py" "$config" --launcher pytorch "$@"
