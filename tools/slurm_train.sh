#!/usr/bin/env bash
# Train on a Slurm cluster, one task per GPU.
#
#   bash tools/slurm_train.sh PARTITION JOB CONFIG [tools/train.py arguments]
#
# From the environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), and SRUN_ARGS for srun.
set -euo pipefail

if (($# < 3)); then
    echo "usage: $0 PARTITION JOB CONFIG [tools/train.py arguments]" >&2
    exit 2
fi
partition=$1
job=$2
config=$3
shift 3

gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}

# SRUN_ARGS is a list of words
# shellcheck disable=SC2086
exec srun -p "$partition" \
    --job-name="$job" \
    --gres="gpu:$gpus_per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$gpus_per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "${BASH_SOURCE[0]}")/train.py" "$config" \
    --launcher slurm "$@"
