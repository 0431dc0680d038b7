"""How rare the rare classes are, in the labels and in what training sees of them."""

from collections.abc import Iterator

import numpy as np

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, advice, warning
from mmseg_balance.doctor.reading import RARE, Reading
from mmseg_balance.experiments.progress import number_of

FEW_IMAGES = 0.1  # share of the images
SEEN_ENOUGH = 100  # crops with a class in a whole training
SURVIVES = 0.5
LOST = 0.25
MIN_COMPONENTS = 10


def rare_classes(reading: Reading) -> Iterator[Finding]:
    """Classes on less than 1 % of the pixels: few pixels, or few images?"""
    statistics, share = reading.statistics, reading.pixel_share
    rare = reading.rare_classes
    if not rare:
        return
    part = statistics.images / max(statistics.num_images, 1)
    few_images = [c for c in rare if part[c] < FEW_IMAGES]
    few_pixels = [c for c in rare if part[c] >= FEW_IMAGES]
    texts = []
    if few_pixels:
        texts.append('small but in many images: ' + _table(statistics, share, few_pixels))
    if few_images:
        texts.append(
            f'in less than {FEW_IMAGES:.0%} of the images: ' + _table(statistics, share, few_images)
        )
    yield advice(
        'train_dataloader.dataset',
        f'{len(rare)} of {statistics.num_classes} classes are on less than {RARE:.0%} of the '
        f'labelled pixels; {"; ".join(texts)}',
        'the loss decides about classes with few pixels, the sampler about classes in few images',
    )


def _table(statistics, share: np.ndarray, classes: list[int], most: int = 6) -> str:
    texts = [
        f'{statistics.class_names[c]} ({share[c]:.2%} of pixels, '
        f'{number_of(statistics.images[c], "image")})'
        for c in classes[:most]
    ]
    return ', '.join(texts) + (f' and {len(classes) - most} more' if len(classes) > most else '')


def seen_in_training(reading: Reading) -> Iterator[Finding]:
    """A class is in fewer than 100 crops of the whole training."""
    if not reading.iterations:
        return
    crops = reading.iterations * reading.batch_size * reading.gpus
    seen = reading.crop_share * crops
    names, images = reading.train.class_names, reading.statistics.images
    few = [c for c in np.argsort(seen) if images[c] and seen[c] < SEEN_ENOUGH]
    if few and crops >= 2 * SEEN_ENOUGH and _draws_uniformly(reading):
        texts = [f'{names[c]} {seen[c]:.0f}' for c in few[:8]]
        yield warning(
            'train_dataloader.sampler',
            f'of {crops} crops in the training, about so many have the class: {", ".join(texts)}',
            'draw its images more often: train_dataloader=dict(sampler=dict(_delete_=True, '
            "type='ClassPerformanceSampler')) with custom_hooks=[dict(type='ClassPerformanceHook')]"
            ', a ClassCenteredCrop, or train longer',
        )


def _draws_uniformly(reading: Reading) -> bool:
    loader = view.loader_of(reading.config, 'train')
    kinds = [view.type_name(loader.get(key) or {}) for key in ('sampler', 'batch_sampler')]
    return set(kinds) <= {'', 'InfiniteSampler', 'DefaultSampler'}


def lost_in_crops(reading: Reading) -> Iterator[Finding]:
    """A class of the images is in less than half of the crops taken from them."""
    statistics = reading.statistics
    share = statistics.images / max(statistics.num_images, 1)
    with np.errstate(invalid='ignore', divide='ignore'):
        survival = reading.crop_share / share
    lost = [c for c in np.argsort(np.nan_to_num(survival, nan=1)) if survival[c] < SURVIVES]
    if lost:
        names = statistics.class_names
        texts = [f'{names[c]} {survival[c]:.0%}' for c in lost[:8]]
        key, crop = _crop(reading)
        yield advice(
            key or 'train_dataloader.dataset.pipeline',
            'of the crops from images with the class, so many still have it: ' + ', '.join(texts),
            "a crop around a pixel of a rare class: dict(type='ClassCenteredCrop', "
            f'crop_size={crop.get("crop_size", (512, 512))}) in place of RandomCrop, or a larger crop',
        )


def _crop(reading: Reading):
    return next(
        (
            (key, step)
            for key, step in view.steps_of(reading.config, 'train')
            if view.type_name(step) == 'RandomCrop'
        ),
        (None, {}),
    )


def thin_classes(reading: Reading) -> Iterator[Finding]:
    """Parts of a class are too thin for the training size or for the logits' grid."""
    found, names = reading.components, reading.train.class_names
    where = {
        'training': (
            f'resizing to the training size (x{reading.sample.scale:.2f})',
            'train at a larger size: scale of Resize or RandomResize',
        ),
        'logits': (
            f'the grid of the logits (one for {reading.model_stride or 1:.2g}x'
            f'{reading.model_stride or 1:.2g} training pixels)',
            'a head of finer output stride (dilations of the backbone, a decoder such '
            'as DeepLabV3+), or a larger training size',
        ),
    }
    for place, (total, lost) in found.items():
        share = lost / np.maximum(total, 1)
        small = sorted(reading.small_classes, key=lambda c: -share[c])
        thin = [c for c in small if share[c] > LOST and total[c] >= MIN_COMPONENTS]
        if thin:
            texts = [f'{names[c]} {share[c]:.0%} of {total[c]}' for c in thin[:8]]
            what, change = where[place]
            yield advice(
                'train_dataloader.dataset.pipeline' if place == 'training' else 'model',
                f'connected parts that fall between the points of {what}: ' + ', '.join(texts),
                change,
            )
            return  # what resizing loses, the logits cannot have


def cat_max_ratio(reading: Reading) -> Iterator[Finding]:
    """``RandomCrop(cat_max_ratio)`` asks for crops that the data hardly have."""
    key, step = _crop(reading)
    limit = step.get('cat_max_ratio', 1.0)
    if key is None or limit >= 1:
        return
    statistics = reading.statistics
    largest = np.zeros(statistics.num_images)
    rows = np.repeat(np.arange(statistics.num_images), statistics.classes_per_image)
    np.maximum.at(largest, rows, statistics.counts)
    share = largest / np.maximum(statistics.pixels_per_image, 1)
    above = float((share > limit).mean())
    if above > 0.5:
        top = statistics.class_names[int(statistics.pixels.argmax())]
        yield advice(
            key,
            f'cat_max_ratio={limit}, but in {above:.0%} of the images one class has more of the '
            f'pixels ({top} in most): crops are drawn ten times and the last one is taken, so it '
            'costs time and favours the borders of that class',
            'cat_max_ratio=1, or a ClassCenteredCrop that looks for the rare classes',
        )
