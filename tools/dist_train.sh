#!/usr/bin/env bash
# bash tools/dist_train.sh CONFIG PROCESSES [option of tools/train.py]...
#
# PROCESSES on this machine, one per GPU. On several machines, on each of them with its own rank:
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 PORT=29500 bash tools/dist_train.sh CONFIG 8
# PYTHON names the interpreter (default: python).
set -euo pipefail
source "$(dirname "$0")/launch.sh"
[[ $# -ge 2 ]] || usage
config=$1 processes=$2
shift 2
torchrun_script train.py "$processes" "$config" "$@"
