#!/usr/bin/env bash
# bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [option of tools/test.py]...
#
# PROCESSES on this machine, one per GPU. On several machines, on each of them with its own rank:
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 PORT=29500 bash tools/dist_test.sh CONFIG CHECKPOINT 8
# PYTHON names the interpreter (default: python).
set -euo pipefail
source "$(dirname "$0")/launch.sh"
[[ $# -ge 3 ]] || usage
config=$1 checkpoint=$2 processes=$3
shift 3
torchrun_script test.py "$processes" "$config" "$checkpoint" "$@"
