"""Statistics for a transform, which may run in a worker process of a data loader."""

import os

from torch.utils.data import get_worker_info

from mmseg_balance.statistics.auto import load_statistics, statistics_of, training_set_of_run
from mmseg_balance.statistics.class_statistics import ClassStatistics


def statistics_for_transform(
    spec: 'str | os.PathLike | ClassStatistics | None', dataset=None
) -> ClassStatistics:
    """Return the class statistics that a transform's ``spec`` names.

    As :func:`load_statistics`, but ``'auto'`` also works in worker processes that were started
    before the run's config was at hand, as ``IterBasedTrainLoop`` starts them: the data set is
    the worker's own. Chance decides which process asks first, and when, so that no other rank
    can be asked to take part: where no file fits, the first one scans under a lock, whatever its
    rank, and those that ask meanwhile wait.

    Args:
        spec: a path, ``'auto'``, None, or statistics (returned as they are).
        dataset: the training set, if the caller has it; else the worker's or the run's.
    """
    if spec not in (None, 'auto'):
        return load_statistics(spec)
    worker = get_worker_info()
    if dataset is None:
        dataset = training_set_of_run() if worker is None else worker.dataset
    return statistics_of(dataset, together=False)
