"""Finding the statistics that a config asks for: a file, an object, or 'auto'."""

import os
import time
from functools import lru_cache
from pathlib import Path

from mmengine import Config, MessageHub
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_balance.statistics.class_statistics import ClassStatistics
from mmseg_balance.statistics.label_scan import LabelSource

FOLDER_VARIABLE = 'MMSEG_BALANCE_STATISTICS'
DEFAULT_FOLDER = 'work_dirs/class_statistics'
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_MESSAGES = 60


def load_statistics(
    spec: 'str | os.PathLike | ClassStatistics | None', dataset=None
) -> ClassStatistics:
    """Return the class statistics that ``spec`` names.

    ``'auto'`` (or None) means the training set: ``dataset`` if it is given, else that of the
    config of the run in progress, which MMEngine keeps in its message hub from ``before_run`` on.
    They are read from ``work_dirs/class_statistics`` (or the folder in the environment variable
    ``MMSEG_BALANCE_STATISTICS``), whose file names end in the fingerprint of labels and options;
    when no file fits, rank 0 scans while the other ranks wait for its file.

    Args:
        spec: a path, ``'auto'``, None, or statistics (returned as they are).
        dataset: the training set, if the caller has it; a given file must fit it.

    Raises:
        FileNotFoundError: ``spec`` is a path without a file.
        ValueError: the file does not fit the data set.
        RuntimeError: ``'auto'`` without a data set and outside a run.
    """
    if isinstance(spec, ClassStatistics):
        return _fitting(spec, dataset, 'statistics')
    if spec is not None and not isinstance(spec, (str, os.PathLike)):
        raise TypeError(
            f"statistics must be a path, 'auto' or ClassStatistics, got {type(spec).__name__}"
        )
    if spec is None or spec == 'auto':
        return statistics_of(dataset) if dataset is not None else _of_run(_config_of_run())
    return _fitting(
        _read(str(spec), os.path.getmtime(spec) if os.path.exists(spec) else 0), dataset, str(spec)
    )


def statistics_path(source: LabelSource) -> Path:
    """Where ``'auto'`` keeps the statistics of these label maps."""
    folder = Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER))
    return folder / f'{source.name}-{source.fingerprint()[:16]}.npz'


def statistics_of(dataset) -> ClassStatistics:
    """Read the statistics of a data set, or scan it (rank 0) and keep them."""
    path = statistics_path(LabelSource(dataset))
    if not path.is_file() and get_rank() == 0:
        print_log(f'counting the labels of {len(dataset)} images once, into {path}', 'current')
        ClassStatistics.scan(dataset).save(path)
    _wait_for(path)
    return _read(str(path), os.path.getmtime(path))


def labels_only(config: dict) -> dict:
    """Copy a data set's config, keeping of every pipeline only what loads annotations.

    >>> labels_only(dict(type='D', pipeline=[dict(type='LoadAnnotations'), dict(type='Crop')]))
    {'type': 'D', 'pipeline': [{'type': 'LoadAnnotations'}]}
    """

    def strip(value, key=''):
        if isinstance(value, dict):
            return {name: strip(item, name) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            if key == 'pipeline':
                value = [step for step in value if 'Annotation' in _type_name(step)]
            return type(value)(strip(item) for item in value)
        return value

    return strip(config)


def _type_name(step: dict) -> str:
    kind = step.get('type', '')
    return kind if isinstance(kind, str) else kind.__name__


def build_training_set(config: Config):
    """Build the training set of a config for its labels alone."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    return DATASETS.build(labels_only(config.train_dataloader.dataset.to_dict()))


def _config_of_run() -> str:
    text = MessageHub.get_current_instance().get_info('cfg')
    if not text:
        raise RuntimeError(
            "statistics='auto' finds the training set through a run in progress, and none is: "
            'make a file with tools/class_stats.py CONFIG and give its path'
        )
    return text


@lru_cache(maxsize=2)
def _of_run(config_text: str) -> ClassStatistics:
    return statistics_of(build_training_set(Config.fromstring(config_text, '.py')))


@lru_cache(maxsize=4)
def _read(path: str, modified: float) -> ClassStatistics:
    # Several losses and samplers of a run share one object; a rewritten file is read anew.
    return ClassStatistics.load(path)


def _wait_for(path: Path) -> None:
    waited = 0.0
    while not path.is_file():
        if waited and waited % SECONDS_BETWEEN_MESSAGES == 0:
            print_log(
                f'rank {get_rank()} waits for rank 0 to count the labels into {path} '
                '(a folder that all ranks must see)',
                'current',
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)
        waited += SECONDS_BETWEEN_LOOKS


def _fitting(statistics: ClassStatistics, dataset, name: str) -> ClassStatistics:
    if dataset is None:
        return statistics
    classes = tuple(dataset.metainfo.get('classes') or ())
    if statistics.num_images != len(dataset) or (classes and classes != statistics.class_names):
        raise ValueError(
            f'{name} has {statistics.num_images} images and {statistics.num_classes} classes, the '
            f'training set {len(dataset)} and {len(classes)}: run tools/class_stats.py again'
        )
    if statistics.fingerprint and statistics.fingerprint != LabelSource(dataset).fingerprint():
        print_log(
            f'{name} was made from other labels or options than the training set has now; '
            'run tools/class_stats.py again if they were changed',
            'current',
            30,
        )
    return statistics
