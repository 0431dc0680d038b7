#!/usr/bin/env bash
# sbatch [--nodes=N --gpus-per-node=G --cpus-per-task=C ...] tools/slurm_ray.sh COMMAND...
#
# Starts a Ray cluster over the nodes of the allocation, one worker process a node, runs COMMAND on
# the first one with RAY_ADDRESS set, and ends the cluster with it:
#
#   sbatch --nodes=8 --gpus-per-node=8 --cpus-per-task=64 tools/slurm_ray.sh \
#       python tools/compare.py CONFIG --losses ce lmp recall --seeds 0 1 2 3 4 --engine ray
#
# PORT  of the head node (default: 6379 plus a number of the job)
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
set -euo pipefail
if [[ $# -lt 1 || -z ${SLURM_JOB_ID:-} ]]; then
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=${PORT:-$((6379 + SLURM_JOB_ID % 1000))}
export RAY_ADDRESS="$address:$port"
# A worker that dies takes the training that it started along, so that its retry need not wait.
export RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper=true
resources=(--num-cpus="${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}")
[[ -z ${SLURM_GPUS_ON_NODE:-} ]] || resources+=(--num-gpus="$SLURM_GPUS_ON_NODE")

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$address" --port="$port" "${resources[@]}" --block &
for ((try = 0; try < 60; try++)); do
    ray status --address="$RAY_ADDRESS" >/dev/null 2>&1 && break
    sleep 2
done
for node in "${nodes[@]:1}"; do
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" \
        ray start --address="$RAY_ADDRESS" "${resources[@]}" --block &
done
for ((try = 0; try < 60; try++)); do
    joined=$(ray list nodes --filter state=ALIVE --limit 10000 --format json 2>/dev/null \
        | grep -c '"node_id"' || true)
    [[ $joined -ge ${#nodes[@]} ]] && break
    sleep 2
done
"$@"
