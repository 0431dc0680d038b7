"""Samplers of images: in the right place, with somebody to report to them."""

from collections.abc import Iterator

import numpy as np
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, error, warning
from mmseg_balance.doctor.reading import Reading
from mmseg_balance.experiments.progress import number_of
from mmseg_balance.functional.balancing import most_classes_possible
from mmseg_balance.samplers import BalanceBatchSampler
from mmseg_balance.samplers.counted_sampler import CountedSampler


def sampler_place(reading: Reading) -> Iterator[Finding]:
    """A sampler of batches stands where one of images goes, or the other way round."""
    loader = view.loader_of(reading.config, 'train')
    sampler, batches = loader.get('sampler') or {}, loader.get('batch_sampler') or {}
    if view.type_name(sampler) == 'BalanceBatchSampler':
        yield error(
            'train_dataloader.sampler',
            'BalanceBatchSampler makes whole batches and takes no dataset argument: TypeError',
            fix={
                'train_dataloader.batch_sampler': dict(sampler),
                'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=True),
            },
        )
    kind = view.registered(DATA_SAMPLERS, batches)
    if (
        isinstance(kind, type)
        and issubclass(kind, CountedSampler)
        and kind is not BalanceBatchSampler
    ):
        yield error(
            'train_dataloader.batch_sampler',
            f'{kind.__name__} chooses single images and takes no sampler argument: TypeError',
            fix={'train_dataloader.sampler': dict(batches), 'train_dataloader.batch_sampler': None},
        )
    if batches and not loader.get('batch_size'):
        yield error(
            'train_dataloader.batch_size',
            "not set, and MMEngine takes it from there for a batch_sampler: KeyError 'batch_size'",
            fix={'train_dataloader.batch_size': reading.batch_size},
        )


def sampler_without_reports(reading: Reading) -> Iterator[Finding]:
    """Nothing tells ``ClassPerformanceSampler`` which classes are segmented badly."""
    sampler = view.loader_of(reading.config, 'train').get('sampler') or {}
    hooks = [view.type_name(hook) for _, hook in view.hooks_of(reading.config)]
    if view.type_name(sampler) == 'ClassPerformanceSampler' and 'ClassPerformanceHook' not in hooks:
        yield warning(
            'train_dataloader.sampler',
            'it draws all classes alike, for nothing reports their IoU to it',
            fix={'custom_hooks+': [dict(type='ClassPerformanceHook')]},
        )
    if 'ClassPerformanceHook' in hooks and view.type_name(sampler) != 'ClassPerformanceSampler':
        yield error(
            'custom_hooks',
            f'ClassPerformanceHook needs a ClassPerformanceSampler and the sampler is '
            f'{view.type_name(sampler) or "not set"}: ValueError before the first iteration',
            fix={'train_dataloader.sampler': dict(type='ClassPerformanceSampler')},
        )


def min_classes(reading: Reading) -> Iterator[Finding]:
    """``BalanceBatchSampler`` asks for more classes than a batch can have."""
    loader = view.loader_of(reading.config, 'train')
    batches = loader.get('batch_sampler') or {}
    wanted = batches.get('min_classes')
    if view.type_name(batches) != 'BalanceBatchSampler' or not isinstance(wanted, int):
        return
    found = reading.statistics
    possible = most_classes_possible(found.indptr, found.images, reading.batch_size)
    if wanted > possible:
        yield error(
            'train_dataloader.batch_sampler.min_classes',
            f'{wanted}, and the training set shows {np.count_nonzero(found.images)} classes, of '
            f'which no batch of {number_of(reading.batch_size, "image")} has more than {possible}',
            fix={'train_dataloader.batch_sampler.min_classes': possible},
        )


def draws_in_order(reading: Reading) -> Iterator[Finding]:
    """Training images are not shuffled."""
    sampler = view.loader_of(reading.config, 'train').get('sampler') or {}
    if (
        view.type_name(sampler) in ('InfiniteSampler', 'DefaultSampler')
        and sampler.get('shuffle') is False
    ):
        yield warning(
            'train_dataloader.sampler.shuffle',
            'False: images come in the order of their names, so that a batch is of one place or '
            'video',
            fix={'train_dataloader.sampler.shuffle': True},
        )
