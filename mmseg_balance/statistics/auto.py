"""Finding the statistics that a config asks for: a file, an object, or 'auto'."""

import os
import time
import uuid
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from mmengine import Config, MessageHub
from mmengine.dist import broadcast_object_list, get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_balance.runtime.atomic_files import write_text
from mmseg_balance.runtime.locks import file_lock
from mmseg_balance.statistics.class_statistics import ClassStatistics
from mmseg_balance.statistics.label_scan import LabelSource

FOLDER_VARIABLE = 'MMSEG_BALANCE_STATISTICS'
DEFAULT_FOLDER = 'work_dirs/class_statistics'
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_MESSAGES = 60


def load_statistics(
    spec: 'str | os.PathLike | ClassStatistics | None', dataset=None, run: str | None = None
) -> ClassStatistics:
    """Return the class statistics that ``spec`` names.

    ``'auto'`` (or None) means the training set: ``dataset`` if it is given, else that of the
    config of the run, which MMEngine keeps in its message hub from ``before_run`` on. They are read
    from ``work_dirs/class_statistics`` (or the folder in the environment variable
    ``MMSEG_BALANCE_STATISTICS``), whose file names end in the fingerprint of labels and options;
    when no file fits, rank 0 scans while the other ranks wait for its file.

    Args:
        spec: a path, ``'auto'``, None, or statistics (returned as they are).
        dataset: the training set, if the caller has it; a given file must fit it.
        run: name of the run's message hub (:func:`name_of_run`); by default the latest run.

    Raises:
        FileNotFoundError: ``spec`` is a path without a file.
        ValueError: the file does not fit the data set.
        RuntimeError: ``'auto'`` without a data set and outside a training run, or rank 0 failed.
    """
    if isinstance(spec, ClassStatistics):
        return _fitting(spec, dataset, 'statistics')
    if spec is not None and not isinstance(spec, (str, os.PathLike)):
        raise TypeError(
            f"statistics must be a path, 'auto' or ClassStatistics, got {type(spec).__name__}"
        )
    if spec is None or spec == 'auto':
        return statistics_of(training_set_of_run(run) if dataset is None else dataset)
    return _fitting(
        _read(str(spec), os.path.getmtime(spec) if os.path.exists(spec) else 0), dataset, str(spec)
    )


def name_of_run() -> str:
    """The run that is being built: what a loss remembers to find its own training set later.

    A ``Runner`` makes its message hub before its model, so the latest hub is its own.
    """
    return MessageHub.get_current_instance().instance_name


def statistics_path(source: LabelSource) -> Path:
    """Where ``'auto'`` keeps the statistics of these label maps."""
    folder = Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER))
    return folder / f'{source.name}-{source.fingerprint()[:16]}.npz'


def statistics_of(dataset, together: bool = True) -> ClassStatistics:
    """Read the statistics of a data set, or scan it and keep them.

    Args:
        dataset: the training set.
        together: whether all ranks ask at once, so that rank 0 can scan for all. Otherwise
            nothing is asked of the other ranks, and whoever is first scans.

    Raises:
        RuntimeError: rank 0 could not count the labels; every rank gets its sentence.
    """
    path = statistics_path(LabelSource(dataset))
    if together and get_world_size() > 1:
        path = _scan_on_rank_0(dataset, path)
    elif not path.is_file():
        (_scan if together else _scan_once)(dataset, path)
    return _read(str(path), os.path.getmtime(path))


def _scan_once(dataset, path: Path) -> None:
    with file_lock(path.with_suffix('.lock')):
        if not path.is_file():  # another process scanned while this one waited
            _scan(dataset, path)


def _scan(dataset, path: Path) -> None:
    print_log(f'counting the labels of {len(dataset)} images once, into {path}', 'current')
    ClassStatistics.scan(dataset).save(path)


def _scan_on_rank_0(dataset, path: Path) -> Path:
    """Rank 0 scans; the others poll for its file, since a collective would time out meanwhile."""
    # Which file, and whether to scan, is rank 0's decision alone: copies of the data on each node
    # have other dates, and a slow shared folder may show ranks different files.
    # The failure's name is new each time, so that no old failure is read.
    note = [path, None if path.is_file() else Path(f'{path}.{uuid.uuid4().hex[:8]}.failed')]
    broadcast_object_list(note)
    path, failure = note
    if get_rank() != 0:
        _wait_for(path, failure)
    elif failure is not None:
        try:
            _scan(dataset, path)
        except Exception as error:
            write_text(failure, f'{type(error).__name__}: {error}')
            raise
    return path


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
                value = [step for step in value if 'Annotation' in str(step.get('type'))]
            return type(value)(strip(item) for item in value)
        return value

    return strip(config)


def build_training_set(config: Config):
    """Build the training set of a config for its labels alone.

    Raises:
        ValueError: the config has none.
    """
    if not config.get('train_dataloader'):
        raise ValueError(
            f'{config.filename} has no train_dataloader: give the config of a training'
        )
    dataset = config.train_dataloader.get('dataset')
    if not isinstance(dataset, Mapping):
        raise ValueError(
            f'train_dataloader.dataset of {config.filename} is {type(dataset).__name__}, and must be a '
            "dict with a type; dict(type='ConcatDataset', datasets=[…]) joins several"
        )
    init_default_scope(config.get('default_scope', 'mmseg'))
    return DATASETS.build(labels_only(dataset.to_dict()))


def training_set_of_run(run: str | None = None):
    """Build the training set of the named run, or of the latest, for its labels alone."""
    return build_training_set(Config.fromstring(_config_of_run(run), '.py'))


def _config_of_run(run: str | None) -> str:
    """The config of the named run, or of the latest, as text."""
    hubs = [MessageHub.get_current_instance()]
    if run is not None and MessageHub.check_instance_created(run):
        hubs.insert(0, MessageHub.get_instance(run))
    texts = [hub.get_info('cfg') for hub in hubs]
    text = next(filter(None, texts), '')
    if 'train_dataloader' not in text:
        raise RuntimeError(
            "statistics='auto' counts the training set of the run, and "
            + ('its config has no train_dataloader' if text else 'no run with a config is there')
            + ': make a file with mmseg-balance class_stats CONFIG and give its path'
        )
    return text


@lru_cache(maxsize=4)
def _read(path: str, modified: float) -> ClassStatistics:
    # Several losses and samplers of a run share one object; a rewritten file is read again.
    return ClassStatistics.load(path)


def _wait_for(path: Path, failure: Path | None) -> None:
    waited = 0.0
    while not path.is_file():
        if failure is not None and failure.is_file():
            raise RuntimeError(f'rank 0 could not count the labels: {failure.read_text()}')
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
    names, classes = statistics.class_names, tuple(dataset.metainfo.get('classes') or ())
    again = 'run mmseg-balance class_stats again'
    if statistics.num_images != len(dataset) or (classes and len(classes) != len(names)):
        raise ValueError(
            f'{name} has {statistics.num_images} images and {len(names)} classes, the '
            f'training set {len(dataset)} and {len(classes)}: {again}'
        )
    if classes and classes != names:
        theirs, ours = next((a, b) for a, b in zip(names, classes, strict=True) if a != b)
        raise ValueError(
            f'{name} has the class {theirs!r} where the training set has {ours!r}: {again}'
        )
    # Joined statistics have none, or in older files those of their parts with a plus.
    known = statistics.fingerprint and '+' not in statistics.fingerprint
    if known and statistics.fingerprint != LabelSource(dataset).fingerprint():
        print_log(
            f'{name} was made from other labels or options than the training set has now; '
            f'{again} if they were changed',
            'current',
            30,
        )
    return statistics
