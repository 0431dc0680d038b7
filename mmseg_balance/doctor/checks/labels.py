"""Label maps and images: are they there, readable, and of the classes that the config names?"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, error, warning
from mmseg_balance.doctor.label_survey import REMOTE, Failure, Survey
from mmseg_balance.doctor.reading import NotReadError, Reading

MOSTLY_UNLABELLED = 0.5
IMAGES_MEASURED = 1000
SWAPS_SIDES = (5, 6, 7, 8)  # values of the EXIF orientation tag
SHOWN = 3


def surveys(reading: Reading) -> Iterator[tuple[str, Survey]]:
    """Split and labels of what can be read; complains if the training set cannot be."""
    yield 'train', reading.train
    if reading.config.get('val_dataloader'):
        try:
            yield 'val', reading.val
        except NotReadError:  # checks of the training labels do not wait for it
            return


def _dataset_key(split: str) -> str:
    return f'{split}_dataloader.dataset'


def _example(failure: Failure) -> tuple[tuple[str, str], ...]:
    return (('image', failure.image), ('labels', failure.path))


def _of_kind(survey: Survey, *kinds: str) -> list[Failure]:
    return [one for one in survey.failures if one.kind in kinds]


def _and_others(survey: Survey, failures: list[Failure]) -> str:
    if len(failures) < 2:
        return ''
    if survey.num_failures > len(survey.failures):
        return f' ({survey.num_failures} label maps in all could not be counted)'
    return f' (and {len(failures) - 1} more)'


def label_range(reading: Reading) -> Iterator[Finding]:
    """A label is neither a class nor the ignored value."""
    for split, survey in surveys(reading):
        failures = _of_kind(survey, 'range')
        if not failures:
            continue
        first = failures[0]
        stored = set().union(*(one.values for one in failures)) - {survey.ignore_index}
        classes = len(survey.class_names)
        change, fix = (
            'set num_classes, metainfo.classes, reduce_zero_label and ignore_index of the data '
            'set to what its files hold',
            None,
        )
        if max(stored) == classes and min(stored) >= 0 and not survey.reduces_zero:
            change = (
                f'the files hold {min(stored)} to {classes} for {classes} classes: if 0 means '
                '"unlabelled", '
                'labels start from 1 and the data set needs reduce_zero_label=True:'
            )
            fix = {
                f'{key}.reduce_zero_label': True
                for split in ('train', 'val', 'test')
                for key, _ in view.leaf_datasets(reading.config, split)
            }
            fix = None if min(stored) == 0 else fix
            if fix is None:
                change = change.removesuffix(':')
        yield error(
            first.path,
            f'{first.detail.split(": ", 1)[-1].split("; set")[0]}'
            f'{_and_others(survey, failures)}. Training stops with an index error; on a GPU '
            'with "device-side assert triggered".',
            change,
            fix=fix,
            files=_example(first),
        )


def label_colours(reading: Reading) -> Iterator[Finding]:
    """A label map is a colour picture instead of one class index a pixel."""
    for split, survey in surveys(reading):
        failures = _of_kind(survey, 'colours')
        if failures:
            yield error(
                failures[0].path,
                f'this {_split_name(split)} label map has {failures[0].detail}: colours, where one '
                f'class index a pixel is wanted{_and_others(survey, failures)}',
                'mmseg-balance convert_labels --help: it maps colours to indices once',
                files=_example(failures[0]),
            )


def _split_name(split: str) -> str:
    return {'train': 'training', 'val': 'validation'}[split]


def masks_0_255(reading: Reading) -> Iterator[Finding]:
    """Binary masks are coded 0/255, so the foreground is the ignored label."""
    for split, survey in surveys(reading):
        if len(survey.class_names) != 2 or survey.failures:
            continue
        if set(survey.stored_values) == {0, 255} and survey.ignore_index == 255:
            info = survey.info(_most_ignored(survey))
            yield error(
                _dataset_key(split),
                f'the {_split_name(split)} masks hold 0 and 255 only, and 255 is the ignored '
                f'label: {survey.class_names[1]!r} is never trained or scored',
                'divide the masks by 255 once: mmseg-balance convert_labels; then 0 and 1 are the '
                'classes and 255 is free for "unlabelled"',
                files=(
                    ('image', str(info.get('img_path'))),
                    ('labels', str(info.get('seg_map_path'))),
                ),
            )


def _most_ignored(survey: Survey) -> int:
    return int(survey.source.order[survey.statistics.ignored.argmax()])


def reduce_zero_label(reading: Reading) -> Iterator[Finding]:
    """``reduce_zero_label`` shifts labels that start from 0, so that class 0 is lost."""
    for split, survey in surveys(reading):
        stored = set(survey.stored_values) - {255}
        if _zero_is_lost(survey):
            names = survey.class_names
            yield error(
                _dataset_key(split),
                f'the files hold 0 to {max(stored)}, {len(names)} values for {len(names)} classes, '
                f'and reduce_zero_label=True makes 0 ignored and the others one less: '
                f'{names[0]!r} is lost and each other class has the name of the one before it',
                'if 0 is a class:',
                fix=_no_reduction(reading),
            )


def _zero_is_lost(survey: Survey) -> bool:
    stored = set(survey.stored_values) - {255}
    whole = 0 in stored and max(stored) == len(survey.class_names) - 1
    return survey.reduces_zero and not survey.failures and whole


def _is_explained(survey: Survey) -> bool:
    """Whether another check has the reason why labels are missing."""
    return bool(survey.failures) or set(survey.stored_values) == {0, 255} or _zero_is_lost(survey)


def _no_reduction(reading: Reading) -> dict:
    fix = {}
    for split in ('train', 'val', 'test'):
        for key, leaf in view.leaf_datasets(reading.config, split):
            kind = view.registered(view.DATASETS, leaf)
            if leaf.get('reduce_zero_label') or ('reduce_zero_label' not in leaf and kind):
                fix[f'{key}.reduce_zero_label'] = False
        for key, step in view.steps_of(reading.config, split):
            if step.get('reduce_zero_label'):
                fix[f'{key}.reduce_zero_label'] = False
    return fix


def zero_label_splits(reading: Reading) -> Iterator[Finding]:
    """Training and validation differ in ``reduce_zero_label``."""
    flags = {}
    for split in ('train', 'val'):
        for key, leaf in view.leaf_datasets(reading.config, split):
            kind = view.registered(view.DATASETS, leaf)
            if kind is None:
                continue
            flag = leaf.get('reduce_zero_label')
            if flag is None:
                flag = _default_of(kind, 'reduce_zero_label')
            flags.setdefault(bool(flag), key)
    if len(flags) == 2:
        yield error(
            f'{flags[True]}.reduce_zero_label',
            f'True here and False in {flags[False]}: the same class has two numbers, and scores '
            'mean nothing',
            'set the same value in both',
        )


def _default_of(kind: type, argument: str):
    """Default of an argument by the first class in the inheritance that names it."""
    import inspect

    for base in kind.__mro__:
        parameters = inspect.signature(base.__init__).parameters
        if argument in parameters:
            return parameters[argument].default
    return None


def never_labelled(reading: Reading) -> Iterator[Finding]:
    """A class of the training set is on no pixel of it."""
    survey = reading.train
    if _is_explained(survey):
        return
    pixels = survey.statistics.pixels
    missing = [name for name, number in zip(survey.class_names, pixels, strict=True) if not number]
    if missing and len(missing) < len(pixels):
        yield warning(
            'train_dataloader.dataset',
            f'no training pixel is labelled {_listing(missing)}: the head learns never to '
            'predict it',
            'leave the class out of metainfo.classes and num_classes, or look for its label: '
            f'the files hold the values {_listing([str(v) for v in survey.stored_values], 12)}',
        )


def _listing(names: list[str], most: int = 8) -> str:
    shown = ', '.join(names[:most])
    return shown + (f' and {len(names) - most} more' if len(names) > most else '')


def one_split_only(reading: Reading) -> Iterator[Finding]:
    """A class is validated but not trained, or trained but not validated."""
    train, val = reading.train, reading.val
    if _is_explained(train) or _is_explained(val) or train.class_names != val.class_names:
        return
    names = train.class_names
    trained, validated = train.statistics.pixels > 0, val.statistics.pixels > 0
    untrained = [name for name, a, b in zip(names, trained, validated, strict=True) if b and not a]
    unscored = [name for name, a, b in zip(names, trained, validated, strict=True) if a and not b]
    if untrained and trained.any():
        yield warning(
            'train_dataloader.dataset',
            f'{_listing(untrained)}: in the validation labels but not in the training labels, so '
            'the IoU is 0 whatever is learned',
            'split the images again so that every class is in both parts',
        )
    if unscored and validated.any():
        yield warning(
            'val_dataloader.dataset',
            f'{_listing(unscored)}: in the training labels but not in the validation labels, so '
            'there is no IoU and mIoU leaves the class out',
            'split the images again so that every class is in both parts, or compare class by '
            'class',
        )


def unlabelled_share(reading: Reading) -> Iterator[Finding]:
    """More than half of the pixels are ignored, or all are."""
    for split, survey in surveys(reading):
        if _is_explained(survey):
            continue
        found = survey.statistics
        total = found.ignored_pixels + int(found.pixels.sum())
        share = found.ignored_pixels / max(total, 1)
        if share == 1 and total:
            yield error(
                _dataset_key(split),
                f'every {_split_name(split)} pixel is ignored',
                'look at reduce_zero_label, label_map and ignore_index of the data set: the files '
                f'hold {_listing([str(v) for v in survey.stored_values], 12)}',
            )
        elif share > MOSTLY_UNLABELLED:
            info = survey.info(_most_ignored(survey))
            yield warning(
                _dataset_key(split),
                f'{share:.0%} of the {_split_name(split)} pixels are ignored',
                'if that is not meant, look at label_map and ignore_index; if it is, set '
                'avg_non_ignore=True, or the loss is divided by all pixels',
                files=(
                    ('image', str(info.get('img_path'))),
                    ('labels', str(info.get('seg_map_path'))),
                ),
            )


def images_without_labels(reading: Reading) -> Iterator[Finding]:
    """Some images have no labelled pixel at all."""
    for split, survey in surveys(reading):
        if _is_explained(survey):
            continue
        found = survey.statistics
        empty = found.classes_per_image == 0
        if 0 < empty.sum() < found.num_images:
            info = survey.info(int(survey.source.order[int(empty.argmax())]))
            yield warning(
                str(info.get('seg_map_path')),
                f'all of it is ignored, as in {int(empty.sum())} of {found.num_images} '
                f'{_split_name(split)} label maps: such an image teaches nothing, and a batch of '
                'them alone has a loss of 0 or, with some losses, NaN',
                'leave these images out by an ann_file',
                files=(
                    ('image', str(info.get('img_path'))),
                    ('labels', str(info.get('seg_map_path'))),
                ),
            )


def files_missing(reading: Reading) -> Iterator[Finding]:
    """An image or a label map is listed but not there."""
    for split, survey in surveys(reading):
        missing = survey.missing_files
        if missing:
            kind, path, other = missing[0]
            more = f' ({len(missing)} such files)' if len(missing) > 1 else ''
            yield error(
                path,
                f'there is no such {kind} in the {_split_name(split)} set{more}; its counterpart '
                f'is {other}',
                'look at img_suffix, seg_map_suffix and data_prefix of the data set, or leave the '
                'image out',
            )


def files_unreadable(reading: Reading) -> Iterator[Finding]:
    """A label map cannot be decoded."""
    for split, survey in surveys(reading):
        failures = _of_kind(survey, 'unreadable')
        if failures:
            yield error(
                failures[0].path,
                f'this {_split_name(split)} label map cannot be read: {failures[0].detail}'
                f'{_and_others(survey, failures)}',
                'the file may be truncated or no image: replace it or leave it out',
                files=(('image', failures[0].image),),
            )


def sizes_differ(reading: Reading) -> Iterator[Finding]:
    """An image and its label map differ in size, EXIF rotation included."""
    for _, survey in surveys(reading):
        different = []
        for index in survey.spread(IMAGES_MEASURED):
            info = survey.info(index)
            paths = [str(info.get(key) or '') for key in ('img_path', 'seg_map_path')]
            sizes = [_size_of(path) for path in paths]
            if None not in sizes and sizes[0] != sizes[1]:
                different.append((paths, sizes))
        if different:
            paths, (image, labels) = different[0]
            more = f' ({len(different)} of the images looked at)' if len(different) > 1 else ''
            turned = image == labels[::-1]
            yield error(
                paths[1],
                f'{labels[0]}x{labels[1]} pixels, and its image {image[0]}x{image[1]}{more}: '
                'labels are of other places than the pixels, or the crop fails',
                'the image is turned by its EXIF orientation when it is read, the label map is '
                'not: save the image turned'
                if turned
                else 'resize the label map by nearest neighbour to the size of its image, or pair the '
                'files again',
                files=(('image', paths[0]), ('labels', paths[1])),
            )


def _size_of(path: str) -> tuple[int, int] | None:
    """Width and height as OpenCV reads the file; None if its header says nothing."""
    if not path or path.startswith(REMOTE) or not Path(path).is_file():
        return None
    try:
        with Image.open(path) as image:
            size = image.size
            turned = image.getexif().get(0x0112) in SWAPS_SIDES
    except Exception:  # a format of its own, or unreadable: another check says so
        return None
    return size[::-1] if turned else size
