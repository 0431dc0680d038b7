"""Config, labels, pipeline and model of the user: each read once, when a check asks for it."""

import math
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import DATASETS

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.label_survey import Survey
from mmseg_balance.doctor.model_build import BuiltModel, build_model, training_size
from mmseg_balance.doctor.pipeline_sample import (
    PipelineSample,
    images_for_components,
    lost_components,
    run_pipeline,
)
from mmseg_balance.runtime import config_files
from mmseg_balance.runtime.input_checks import REMOTE
from mmseg_balance.statistics import ClassStatistics

RARE = 0.01  # share of the labelled pixels below which a class is called rare
SMALL = 0.1  # and below which its connected parts are looked at


class NotReadError(Exception):
    """What a check wants to look at could not be read; says why."""


class Reading:
    """What the checks look at.

    Args:
        config: the user's config, as :func:`read_config` returns it.
        gpus: number of GPUs of the training; None: by the name of the config, else one.
        labels: whether to read label maps and images.
        progress: whether to draw bars.
    """

    def __init__(
        self, config: Config, gpus: int | None = None, labels: bool = True, progress: bool = True
    ) -> None:
        self.config = config
        self.reads_labels = labels
        self.progress = progress
        self.gpus_given = gpus
        self.build_errors: dict[str, Exception] = {}  # of a split, 'pipeline', 'model'
        self._read: dict[str, Any] = {}
        self._failed: dict[str, str] = {}
        self.import_error = import_custom_modules(config)
        init_default_scope(config.get('default_scope') or 'mmseg')

    @cached_property
    def heads(self) -> list[view.Head]:
        return view.heads_of(self.config)

    @cached_property
    def losses(self) -> list[tuple[view.Head, view.Loss]]:
        """Losses of pixels and regions, with their heads."""
        return [
            (head, loss)
            for head in self.heads
            for loss in head.losses
            if loss.argument == 'loss_decode' and head.is_plain
        ]

    @cached_property
    def class_names(self) -> tuple[str, ...] | None:
        """Classes of the training set as config or data set type name them."""
        for _, leaf in view.leaf_datasets(self.config, 'train'):
            return view.class_names(leaf)
        return None

    @cached_property
    def batch_size(self) -> int:
        """Images of a training batch on one GPU."""
        loader = view.loader_of(self.config, 'train')
        inner = loader.get('batch_sampler') or {}
        # MMEngine gives the loader's to a batch sampler that has none of its own.
        return int(inner.get('batch_size') or loader.get('batch_size') or 1)

    @cached_property
    def iterations(self) -> int | None:
        """Length of the training; an epoch has as many iterations as batches. None if not said."""
        epochs = view.max_epochs(self.config)
        if not epochs:
            return view.max_iters(self.config)
        return epochs * math.ceil(self.statistics.num_images / (self.batch_size * self.gpus))

    @property
    def gpus(self) -> int:
        if self.gpus_given:
            return self.gpus_given
        named = named_batch(self.config.filename)
        return named[0] if named else 1

    @property
    def train(self) -> Survey:
        """The training labels."""
        return self._once('train', lambda: self._survey('train'))

    @property
    def val(self) -> Survey:
        """The validation labels."""
        return self._once('val', lambda: self._survey('val'))

    @property
    def sample(self) -> PipelineSample:
        """What the training pipeline makes of some images."""
        return self._once('sample', self._sample)

    @property
    def model(self) -> BuiltModel:
        """The model on the ``meta`` device."""
        return self._once('model', self._model)

    def first_image_problem(self, split: str) -> Exception | None:
        """What the pipeline of a split raises on its first image."""
        if self.import_error:
            raise NotReadError('evaluation pipelines: not built, the custom_imports failed')
        survey = self.val if split == 'val' else self._survey(split)
        if split == 'val' and survey.failures:
            raise NotReadError('the validation pipeline is not run on label maps that are wrong')
        try:
            DATASETS.build(self.config[f'{split}_dataloader'].dataset.to_dict())[0]
        except Exception as problem:  # a transform may raise anything
            return problem
        return None

    def _once(self, name: str, read: Callable):
        """Read something when it is first asked for; a failure is not tried again."""
        if name in self._failed:
            raise NotReadError(self._failed[name])
        if name not in self._read:
            try:
                self._read[name] = read()
            except NotReadError as reason:
                self._failed[name] = str(reason)
                raise
        return self._read[name]

    def _survey(self, split: str) -> Survey:
        key = f'{split}_dataloader.dataset'
        dataset = view.loader_of(self.config, split).get('dataset')
        if not dataset:
            raise NotReadError(f'the config has no {key}')
        if not self.reads_labels:
            raise NotReadError(f'{key}: not to be read (--no-labels)')
        absent = absent_roots(self.config, split)
        if absent:
            raise NotReadError(f'{key}: {absent[0]} is not on this machine')
        try:
            survey = Survey(dataset, self.progress)
        except Exception as error:
            self.build_errors[split] = error
            raise NotReadError(f'{key} cannot be built') from error
        if not len(survey):
            raise NotReadError(f'{key} has no image')
        return survey

    def _sample(self) -> PipelineSample:
        survey = self.train
        if survey.failures:
            raise NotReadError('the training pipeline is not run on label maps that are wrong')
        try:
            return run_pipeline(self.config, survey, self.progress)
        except Exception as error:
            self.build_errors['pipeline'] = error
            raise NotReadError('train_dataloader.dataset.pipeline: it cannot be built') from error

    def _model(self) -> BuiltModel:
        if not self.config.get('model'):
            raise NotReadError('the config has no model')
        if self.import_error:
            raise NotReadError('model: not built, its custom_imports failed')
        try:
            module = build_model(self.config.model)
        except Exception as error:
            self.build_errors['model'] = error
            raise NotReadError('the model cannot be built') from error
        return BuiltModel(module, training_size(self.config), self.batch_size)

    @property
    def statistics(self) -> ClassStatistics:
        """Class statistics of the training labels."""
        return self.train.statistics

    @cached_property
    def pixel_share(self) -> np.ndarray:
        """Share of the labelled training pixels of each class (C,)."""
        pixels = self.statistics.pixels
        return pixels / max(int(pixels.sum()), 1)

    @cached_property
    def rare_classes(self) -> list[int]:
        """Classes that are labelled, but on less than 1 % of the pixels; the rarest first."""
        share = self.pixel_share
        if len(share) <= 2:
            return []
        return [int(c) for c in np.argsort(share) if 0 < share[c] < RARE]

    @cached_property
    def small_classes(self) -> list[int]:
        """Classes that are labelled, but on less than 10 % of the pixels; the rarest first."""
        share = self.pixel_share
        return [int(c) for c in np.argsort(share) if 0 < share[c] < SMALL]

    @cached_property
    def crop_share(self) -> np.ndarray:
        """Share of the training crops in which each class occurs (C,), images drawn uniformly.

        nan for a class that no sampled image has.
        """
        statistics, sample = self.statistics, self.sample
        rows = np.zeros((len(sample.images), statistics.num_classes), dtype=bool)
        for row, image in zip(rows, sample.images, strict=True):
            row[statistics.classes_of(image)] = True
        survival = np.where(statistics.images > 0, sample.survival(rows), 0)
        return survival * statistics.images / max(statistics.num_images, 1)

    @cached_property
    def components(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Connected parts (C,), all and lost, at the training size and at that of the logits.

        Of images with small classes; the others are counted where they happen to be.
        """
        survey, stride = self.train, self.model_stride
        images = images_for_components(survey, self.small_classes)
        maps = [survey.labels(index) for index in images]
        options = (len(survey.class_names), survey.ignore_index)
        scale = self.sample.scale
        found = {'training': lost_components(maps, *options, min(scale, 1.0))}
        if stride:
            found['logits'] = lost_components(maps, *options, scale / stride)
        return found

    @property
    def model_stride(self) -> float | None:
        """Training pixels per logit along a side, if the model tells."""
        try:
            return self.model.output_stride
        except NotReadError:
            return None


def read_config(path: str | Path, options: Mapping | None = None) -> Config:
    """Read a config without importing what it asks for; ``Reading`` does that, with care.

    Raises:
        Exception: whatever MMEngine raises for a config that it cannot read.
    """
    config = config_files.read_config(path, import_custom_modules=False)
    config_files.override(config, options)
    return config


def import_custom_modules(config: Config) -> str | None:
    """Do what ``custom_imports`` asks for; the message if it fails."""
    wanted = config.get('custom_imports')
    if not wanted:
        return None
    try:
        import_modules_from_strings(**wanted)
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return None


def absent_roots(config: Config, split: str) -> list[str]:
    """The ``data_root`` folders of a split that are not here."""
    found = []
    for _, leaf in view.leaf_datasets(config, split):
        root = str(leaf.get('data_root') or '')
        is_local = root and '://' not in root and not root.startswith(REMOTE)
        if is_local and not Path(root).exists():
            kind = view.registered(view.DATASETS, leaf)
            if not getattr(kind, 'makes_its_files', False):
                found.append(root)
    return found


def named_batch(filename: str | Path | None) -> tuple[int, int] | None:
    """GPUs and images per GPU in the name of a config.

    >>> named_batch('deeplabv3_r50-d8_4xb2-80k_cityscapes-512x1024.py')
    (4, 2)
    >>> named_batch('mine.py')
    """
    found = re.search(r'[_-](\d+)xb(\d+)[_-]', Path(filename or '').name)
    return (int(found[1]), int(found[2])) if found else None
