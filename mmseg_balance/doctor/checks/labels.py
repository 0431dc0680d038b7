"""Label values: are they the classes that the config names, and is every class there?"""

from collections.abc import Iterator

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, error, warning
from mmseg_balance.doctor.label_survey import Failure, Survey
from mmseg_balance.doctor.reading import NotReadError, Reading

MOSTLY_UNLABELLED = 0.5
LARGEST_STORED = 255  # LoadAnnotations keeps 8 bits of a value


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


def example(failure: Failure) -> tuple[tuple[str, str], ...]:
    """The files that show a failure."""
    return (('image', failure.image), ('labels', failure.path))


def _pictures(info: dict) -> tuple[tuple[str, str], ...]:
    return (('image', str(info.get('img_path'))), ('labels', str(info.get('seg_map_path'))))


def failing(reading: Reading, kind: str) -> Iterator[tuple[str, Survey, list[Failure], str]]:
    """Split, labels, failures of one kind, and how many label maps are like the first of them."""
    for split, survey in surveys(reading):
        failures = [one for one in survey.failures if one.kind == kind]
        if failures:
            yield split, survey, failures, _and_others(survey, failures)


def _and_others(survey: Survey, failures: list[Failure]) -> str:
    if len(failures) < 2:
        return ''
    if survey.num_failures > len(survey.failures):
        return f' ({survey.num_failures} label maps in all could not be counted)'
    return f' (and {len(failures) - 1} more)'


def label_range(reading: Reading) -> Iterator[Finding]:
    """A label is neither a class nor the ignored value."""
    for _, survey, failures, others in failing(reading, 'range'):
        first = failures[0]
        stored = set().union(*(one.values for one in failures)) - {survey.ignore_index}
        classes = len(survey.class_names)
        fix = None
        change = (
            'set num_classes, metainfo.classes, reduce_zero_label and ignore_index of the data '
            'set to what its files hold'
        )
        statement, _, remedy = first.detail.removeprefix(f'{first.path}: ').rpartition(': ')
        if max(first.values) > LARGEST_STORED:
            change = remedy
        elif max(stored) == classes and min(stored) >= 0 and not survey.reduces_zero:
            # Class 0 is not among `stored` where label maps with a void label do not have it.
            has_zero = min(stored) == 0 or any(one.holds_zero for _, one in surveys(reading))
            change = (
                f'the files hold {0 if has_zero else min(stored)} to {classes} for {classes} '
                'classes: if 0 means "unlabelled", labels start from 1 and the data set needs '
                'reduce_zero_label=True'
            )
            if has_zero:
                change += (
                    f'; if {classes} does, data set, heads and metrics need ignore_index={classes}'
                )
            else:
                change += ':'
                fix = _reduction(reading, True)
        yield error(
            first.path,
            f'{statement}{others}{_consequence(reading, first)}',
            change,
            fix=fix,
            files=example(first),
        )


def _consequence(reading: Reading, failure: Failure) -> str:
    """What a label out of range does to the training."""
    if max(failure.values) > LARGEST_STORED:
        return ''  # the statement has it
    if {head.channels for head in reading.heads} == {1}:
        return '. A head of one channel has the labels 0 and 1 alone.'
    return '. Training stops with an index error; on a GPU with "device-side assert triggered".'


def split_name(split: str) -> str:
    """A split in a sentence."""
    return {'train': 'training', 'val': 'validation'}[split]


def masks_0_255(reading: Reading) -> Iterator[Finding]:
    """Binary masks are coded 0/255, so the foreground is the ignored label."""
    for split, survey in surveys(reading):
        if _foreground_is_ignored(survey):
            info = survey.info(_most_ignored(survey))
            yield error(
                _dataset_key(split),
                f'the {split_name(split)} masks hold 0 and 255 only, and 255 is the ignored '
                f'label: {survey.class_names[1]!r} is never trained or scored',
                'divide the masks by 255 once and save them; then 0 and 1 are the '
                'classes and 255 is free for "unlabelled"',
                files=_pictures(info),
            )


def _foreground_is_ignored(survey: Survey) -> bool:
    binary = len(survey.class_names) == 2 and survey.ignore_index == 255
    if not binary or survey.failures or set(survey.stored_values) != {0, 255}:
        return False
    return not survey.statistics.pixels[1]  # the stored values are those of a sample


def _most_ignored(survey: Survey) -> int:
    return int(survey.source.order[survey.statistics.ignored.argmax()])


def reduce_zero_label(reading: Reading) -> Iterator[Finding]:
    """``reduce_zero_label`` shifts labels that start from 0, so that class 0 is lost."""
    for split, survey in surveys(reading):
        stored = set(survey.stored_values) - {255}
        if _zero_is_lost(reading, survey):
            names = survey.class_names
            yield error(
                _dataset_key(split),
                f'the files hold 0 to {max(stored)}, {len(names)} values for {len(names)} classes, '
                f'and reduce_zero_label=True makes 0 ignored and the others one less: '
                f'{names[0]!r} is lost and each other class has the name of the one before it',
                'if 0 is a class:',
                fix=_reduction(reading, False),
            )


def _zero_is_lost(reading: Reading, survey: Survey) -> bool:
    stored = set(survey.stored_values) - {255}
    whole = 0 in stored and max(stored) == len(survey.class_names) - 1
    if not survey.reduces_zero or survey.failures or not whole:
        return False
    # That was a sample: where any image has the last class, labels start from 1 and it is rare.
    reduced = [one for _, one in surveys(reading) if one.reduces_zero]
    return not any(one.statistics.pixels[-1] for one in reduced)


def _is_explained(reading: Reading, survey: Survey) -> bool:
    """Whether another check has the reason why labels are missing."""
    return bool(survey.failures) or _foreground_is_ignored(survey) or _zero_is_lost(reading, survey)


def _reduction(reading: Reading, value: bool) -> dict:
    """The change that gives every data set this ``reduce_zero_label``, and the steps that name it."""
    fix = {}
    for split in ('train', 'val', 'test'):
        steps = view.steps_of(reading.config, split)
        places = view.leaf_datasets(reading.config, split)
        places += [(key, one) for key, one in steps if one.get('reduce_zero_label') is not None]
        for key, one in places:
            if one.get('reduce_zero_label') is not value:
                fix[f'{key}.reduce_zero_label'] = value
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
                flag = view.default_of(kind, 'reduce_zero_label')
            flags.setdefault(bool(flag), key)
    if len(flags) == 2:
        yield error(
            f'{flags[True]}.reduce_zero_label',
            f'True here and False in {flags[False]}: the same class has two numbers, and scores '
            'mean nothing',
            'set the same value in both',
        )


def never_labelled(reading: Reading) -> Iterator[Finding]:
    """A class of the training set is on no pixel of it."""
    survey = reading.train
    if _is_explained(reading, survey):
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
    if (
        _is_explained(reading, train)
        or _is_explained(reading, val)
        or train.class_names != val.class_names
    ):
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
        if _is_explained(reading, survey):
            continue
        found = survey.statistics
        total = found.ignored_pixels + int(found.pixels.sum())
        share = found.ignored_pixels / max(total, 1)
        if share == 1 and total:
            yield error(
                _dataset_key(split),
                f'every {split_name(split)} pixel is ignored',
                'look at reduce_zero_label, label_map and ignore_index of the data set: the files '
                f'hold {_listing([str(v) for v in survey.stored_values], 12)}',
            )
        elif share > MOSTLY_UNLABELLED:
            info = survey.info(_most_ignored(survey))
            yield warning(
                _dataset_key(split),
                f'{share:.0%} of the {split_name(split)} pixels are ignored',
                'if that is not meant, look at label_map and ignore_index; if it is, set '
                'avg_non_ignore=True, or the loss is divided by all pixels',
                files=_pictures(info),
            )


def images_without_labels(reading: Reading) -> Iterator[Finding]:
    """Some images have no labelled pixel at all."""
    for split, survey in surveys(reading):
        if _is_explained(reading, survey):
            continue
        found = survey.statistics
        empty = found.classes_per_image == 0
        if 0 < empty.sum() < found.num_images:
            info = survey.info(int(survey.source.order[int(empty.argmax())]))
            yield warning(
                str(info.get('seg_map_path')),
                f'all of it is ignored, as in {int(empty.sum())} of {found.num_images} '
                f'{split_name(split)} label maps: such an image teaches nothing, and a batch of '
                'them alone has a loss of 0 or, with some losses, NaN',
                'leave these images out by an ann_file',
                files=_pictures(info),
            )
