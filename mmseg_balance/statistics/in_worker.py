"""Statistics for a transform, which may run in a worker process of a data loader."""

import os

from torch.utils.data import get_worker_info

from mmseg_balance.statistics.auto import load_statistics
from mmseg_balance.statistics.class_statistics import ClassStatistics


def statistics_for_transform(
    spec: 'str | os.PathLike | ClassStatistics | None', dataset=None
) -> ClassStatistics:
    """Return the class statistics that a transform's ``spec`` names.

    As :func:`load_statistics`, but ``'auto'`` also works in worker processes that were started
    before the run's config was at hand, as ``IterBasedTrainLoop`` starts them: the data set is
    the worker's own. Where no file fits, one worker of rank 0 scans while the others wait.

    Args:
        spec: a path, ``'auto'``, None, or statistics (returned as they are).
        dataset: the training set, if the caller has it; else the worker's.
    """
    worker = get_worker_info()
    if dataset is None and worker is not None:
        dataset = worker.dataset
    return load_statistics(spec, dataset if spec in (None, 'auto') else None)
