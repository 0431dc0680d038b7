#!/usr/bin/env bash
# [GPUS=4] bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [option of tools/test.py]...
#
# GPUS           tasks in all, one per GPU (default: 4)
# GPUS_PER_NODE  tasks per machine (default: GPUS, at most 8)
# CPUS_PER_TASK  cores for each task and its data loading (default: 5)
# SRUN_ARGS      more options of srun, separated by spaces
# PYTHON         interpreter (default: python)
set -euo pipefail
source "$(dirname "$0")/launch.sh"
[[ $# -ge 4 ]] || usage
srun_script test.py "$@"
