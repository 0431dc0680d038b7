# Sourced by dist_*.sh and slurm_*.sh: how several processes of one script are started.
TOOLS=$(dirname "${BASH_SOURCE[0]}")
PYTHON=${PYTHON:-python}

# Print the comment at the top of the calling script and end.
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# torchrun_script SCRIPT PROCESSES ARGUMENT...
torchrun_script() {
    local script=$1 processes=$2 nodes=${NNODES:-1}
    shift 2
    if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
        echo "error: the number of processes per machine is '$processes': give 1 or more, one per" \
             "GPU" >&2
        usage
    fi
    local rendezvous=(--node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}"
                      --master_port="${PORT:-29500}")
    if [[ $nodes == 1 && -z ${PORT:-} ]]; then
        # A free port, so that two trainings on one machine do not meet.
        rendezvous=(--standalone)
    fi
    exec "$PYTHON" -m torch.distributed.run --nnodes="$nodes" --nproc_per_node="$processes" \
        "${rendezvous[@]}" "$TOOLS/$script" "$@" --launcher pytorch
}

# srun_script SCRIPT PARTITION JOB_NAME ARGUMENT...
srun_script() {
    local script=$1 partition=$2 job_name=$3
    shift 3
    local gpus=${GPUS:-4}
    local per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    local more=()
    read -r -a more <<< "${SRUN_ARGS:-}"
    exec srun --partition="$partition" --job-name="$job_name" --gres=gpu:"$per_node" \
        --ntasks="$gpus" --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 ${more[@]+"${more[@]}"} \
        "$PYTHON" -u "$TOOLS/$script" "$@" --launcher slurm
}
