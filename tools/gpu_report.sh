#!/usr/bin/env bash
# bash tools/gpu_report.sh [--dry-run] [--only SECTION...] [--markdown docs/benchmarks.md]
#
# On a machine with a GPU, in under nine minutes: kernel tests, times and memory of losses and
# metric, float16, NCCL, loss curves of both backends, torch.compile and the parts of a training
# step; work_dirs/gpu_report/report.json and report.md. --dry-run tries it on a CPU.
#
# PYTHON  interpreter (default: python)
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m mmseg_balance.benchmarking.gpu_report "$@"
