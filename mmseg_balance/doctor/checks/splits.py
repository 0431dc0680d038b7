"""Data sets as a whole: do they build, do they agree, do they share images?"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, error, warning
from mmseg_balance.doctor.label_survey import Survey
from mmseg_balance.doctor.reading import NotReadError, Reading, absent_roots
from mmseg_balance.functional.sampling import evenly
from mmseg_balance.runtime.input_checks import REMOTE

MAX_HASHED = 4000
PIECES, PIECE = 16, 1 << 12  # of a file: how many, and bytes of each


def dataset_builds(reading: Reading) -> Iterator[Finding]:
    """A data set cannot be built, or has no image."""
    for split in ('train', 'val'):
        if not reading.config.get(f'{split}_dataloader') or not reading.reads_labels:
            continue
        if reading.import_error or absent_roots(reading.config, split):
            continue
        try:
            getattr(reading, split)
        except NotReadError as reason:
            cause = reading.build_errors.get(split)
            empty = (
                'no image' in str(reason)
                or 'at least one array' in str(cause)
                or isinstance(cause, FileNotFoundError)
            )
            key = f'{split}_dataloader.dataset'
            if empty:
                yield error(
                    key,
                    'the data set has no image',
                    f'look at data_root, data_prefix, ann_file and img_suffix: {_places(reading, split)}',
                )
            elif cause is not None:
                yield error(
                    key,
                    f'the data set cannot be built: {type(cause).__name__}: {cause}',
                    'correct the argument that the message names',
                )


def _places(reading: Reading, split: str) -> str:
    texts = []
    for _, leaf in view.leaf_datasets(reading.config, split):
        root, prefix = leaf.get('data_root') or '', leaf.get('data_prefix') or {}
        folder = os.path.join(root, str(prefix.get('img_path', '')))
        there = 'is there' if Path(folder).is_dir() else 'is missing'
        texts.append(f'{folder} {there}, img_suffix={leaf.get("img_suffix", ".jpg")!r}')
    return '; '.join(texts)


def class_names_agree(reading: Reading) -> Iterator[Finding]:
    """Training and validation name other classes, or in another order."""
    named = {}
    for split in ('train', 'val'):
        for key, leaf in view.leaf_datasets(reading.config, split):
            names = view.class_names(leaf)
            if names:
                named.setdefault(names, key)
    if len(named) > 1:
        (first, first_key), (second, second_key) = list(named.items())[:2]
        odd = [f'{a!r} and {b!r}' for a, b in zip(first, second, strict=False) if a != b]
        what = (
            f'{len(first)} and {len(second)} classes'
            if len(first) != len(second)
            else f'class {odd[0]} at one place'
            if odd
            else ''
        )
        yield error(
            f'{second_key}.metainfo.classes',
            f'not those of {first_key}: {what}; scores are of other classes than were trained',
            'give every data set the same metainfo.classes',
        )


def validation_is_training(reading: Reading) -> Iterator[Finding]:
    """Some validation images are training images, by their content."""
    shared = shared_images(reading.train, reading.val)
    if shared:
        trained, validated = shared[0]
        looked_at = min(len(reading.val), MAX_HASHED)
        yield warning(
            validated,
            f'the same file content as the training image {trained}'
            f' ({len(shared)} of {looked_at} validation images): scores are too good',
            'leave these images out of the training set, or choose another validation set',
            files=(('image', trained), ('image', validated)),
        )


def shared_images(train: Survey, val: Survey) -> list[tuple[str, str]]:
    """Pairs of a training and a validation image with the same content."""
    trained = list(_image_paths(train, range(len(train))))
    validated = list(_image_paths(val, val.spread(MAX_HASHED)))
    # Each takes longer than the one before and has fewer images to look at.
    for key in (os.path.getsize, _sample, _whole):
        known = {path: key(path) for path in trained}
        keys = {path: key(path) for path in validated}
        both = set(known.values()) & set(keys.values())
        trained = [path for path in known if known[path] in both]
        trained = [trained[i] for i in evenly(len(trained), MAX_HASHED)]
        validated = [path for path in keys if keys[path] in both]
    first = {known[path]: path for path in reversed(trained)}
    return [(first[keys[path]], path) for path in validated]


def _image_paths(survey: Survey, indices) -> Iterator[str]:
    for index in indices:
        path = str(survey.info(index).get('img_path') or '')
        if path and not path.startswith(REMOTE) and os.path.isfile(path):
            yield path


def _sample(path: str) -> bytes:
    """Hash of some pieces of a file, evenly spread."""
    last, digest = max(os.path.getsize(path) - PIECE, 0), hashlib.blake2b()
    with open(path, 'rb') as file:
        for start in np.linspace(0, last, PIECES, dtype=int):
            file.seek(start)
            digest.update(file.read(PIECE))
    return digest.digest()


def _whole(path: str) -> bytes:
    """Hash of a file."""
    return hashlib.blake2b(Path(path).read_bytes()).digest()
