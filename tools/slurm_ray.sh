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
# Ray starts the runs of a lost node elsewhere; without this Slurm ends the whole job instead.
#SBATCH --no-kill
set -euo pipefail
if [[ $# -lt 1 || -z ${SLURM_JOB_ID:-} ]]; then
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
if ! command -v ray >/dev/null; then
    echo "error: no command ray on the PATH: pip install 'mmseg_balance[cluster]'" >&2
    exit 2
fi
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=${PORT:-$((6379 + SLURM_JOB_ID % 1000))}
export RAY_ADDRESS="$address:$port"
# A worker that dies takes the training that it started along, so that its retry need not wait.
export RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper=true
cores=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}
resources=(--num-cpus="$cores")
[[ -z ${SLURM_GPUS_ON_NODE:-} ]] || resources+=(--num-gpus="$SLURM_GPUS_ON_NODE")

# A step gets one core unless told: since Slurm 22.05 srun does not go by sbatch's --cpus-per-task.
start_ray() {
    local node=$1
    shift
    srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$cores" --nodelist="$node" \
        ray start "$@" "${resources[@]}" --block &
}

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
start_ray "$head" --head --node-ip-address="$address" --port="$port"
for ((try = 1; try <= 60; try++)); do
    ray status --address="$RAY_ADDRESS" >/dev/null 2>&1 && break
    [[ $try -lt 60 ]] || { echo "error: Ray did not start on $head at $RAY_ADDRESS" >&2; exit 1; }
    sleep 2
done
for node in "${nodes[@]:1}"; do
    start_ray "$node" --address="$RAY_ADDRESS"
done
for ((try = 1; try <= 60; try++)); do
    joined=$(ray list nodes --filter state=ALIVE --limit 10000 --format json 2>/dev/null \
        | grep -o '"node_id"' | wc -l || true)
    [[ $joined -lt ${#nodes[@]} ]] || break
    [[ $try -lt 60 ]] || echo "warning: $joined of ${#nodes[@]} nodes joined; going on" >&2
    sleep 2
done
"$@"
