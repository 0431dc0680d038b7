"""The confusion matrices of many runs, from their files."""

import os
from collections.abc import Mapping

import numpy as np

from mmseg_balance.metrics.confusion_file import load_confusions


def load_runs(
    paths: Mapping[str, Mapping[int, str | os.PathLike]],
) -> tuple[dict[str, dict[int, np.ndarray]], list[str]]:
    """Read the file of every method and seed, and see that all have the same images.

    Args:
        paths: ``paths[method][seed]``, files of ``ImbalanceMetric(save=…)``.

    Returns:
        ``runs[method][seed]``, ``(images, C, C)`` counts, and the names of the images, which give
        the groups.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or has other images or classes than the first.
    """
    runs: dict[str, dict[int, np.ndarray]] = {}
    first, images, shape = None, [], ()
    for method, seeds in paths.items():
        runs[method] = {}
        for seed, path in seeds.items():
            confusions, names = load_confusions(path)
            if first is None:
                first, images, shape = path, names, confusions.shape
            if names != images or confusions.shape != shape:
                raise ValueError(
                    f'{path} has {len(names)} images and {confusions.shape[-1]} classes, and not '
                    f'the same as {first} ({len(images)} and {shape[-1]}) in the same order; '
                    'compare runs that were evaluated on the same split.'
                )
            runs[method][seed] = confusions
    return runs, images
