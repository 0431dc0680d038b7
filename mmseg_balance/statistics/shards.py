"""One scan divided over processes that need not run at the same time."""

from collections.abc import Mapping
from pathlib import Path

from mmseg_balance.runtime.environment import usable_cores
from mmseg_balance.statistics.class_statistics import ClassStatistics
from mmseg_balance.statistics.label_scan import LabelSource


def shard_of(environment: Mapping[str, str]) -> tuple[int, int]:
    """Which part of how many this process is: of a Slurm array, of ``srun``, of ``torchrun``.

    >>> shard_of({'RANK': '1', 'WORLD_SIZE': '4'})
    (1, 4)
    >>> shard_of({'SLURM_ARRAY_TASK_ID': '6', 'SLURM_ARRAY_TASK_MIN': '5',
    ...           'SLURM_ARRAY_TASK_COUNT': '3', 'SLURM_STEP_NUM_TASKS': '2', 'SLURM_PROCID': '1'})
    (3, 6)
    >>> shard_of({})
    (0, 1)

    Raises:
        ValueError: the numbers of a Slurm array have gaps, so that its parts cannot be counted.
    """

    def number(name: str, default: int) -> int:
        return int(environment.get(name, default))

    if 'RANK' in environment:
        rank, ranks = number('RANK', 0), number('WORLD_SIZE', 1)
    elif 'SLURM_STEP_NUM_TASKS' in environment:  # set by srun alone, unlike SLURM_NTASKS
        rank, ranks = number('SLURM_PROCID', 0), number('SLURM_STEP_NUM_TASKS', 1)
    else:
        rank, ranks = 0, 1
    task = number('SLURM_ARRAY_TASK_ID', 0) - number('SLURM_ARRAY_TASK_MIN', 0)
    tasks = number('SLURM_ARRAY_TASK_COUNT', 1)
    if task >= tasks:
        raise ValueError(
            f'task {task + 1} of a Slurm array of {tasks}: give the array consecutive numbers, '
            f'--array=0-{tasks - 1}'
        )
    return task * ranks + rank, tasks * ranks


def scan_shard(
    dataset, path: Path, shard: tuple[int, int], workers: int | None = None, progress: bool = True
) -> ClassStatistics | None:
    """Count part k of n beside ``path``; whoever finds all parts there joins them.

    Parts carry the fingerprint of labels and options in their names, so that those of another
    data set, or from before a change, are never joined.

    Returns:
        The statistics of the whole, or None while parts are missing.
    """
    source = LabelSource(dataset)
    fingerprint = source.fingerprint()[:16]
    k, n = shard
    parts = [path.with_suffix(f'.{fingerprint}.{i + 1}of{n}.npz') for i in range(n)]
    ClassStatistics.scan(dataset, None, shard, workers, progress).save(parts[k])
    if not all(part.is_file() for part in parts):
        return None
    try:
        counted = [ClassStatistics.load(part) for part in parts]
    except FileNotFoundError:  # another process found them all too, and was faster
        return ClassStatistics.load(path)
    whole = ClassStatistics.concatenate(counted, fingerprint=counted[0].fingerprint)
    if not source.in_order:
        whole = whole.take(source.order)
    whole.save(path)
    for part in parts:
        part.unlink(missing_ok=True)
    return whole


def cores_of(environment: Mapping[str, str]) -> int | None:
    """Processes that one of ``torchrun``'s local ranks may use; None: all."""
    ranks = int(environment.get('LOCAL_WORLD_SIZE', 1))
    return max(1, usable_cores() // ranks) if ranks > 1 else None
