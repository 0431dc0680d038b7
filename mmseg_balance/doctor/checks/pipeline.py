"""Pipelines: do they run, and do their batches fit?"""

from collections.abc import Iterator

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, error, not_built, warning
from mmseg_balance.doctor.reading import NotReadError, Reading

RESIZES = ('Resize', 'RandomResize', 'RandomChoiceResize', 'ResizeToMultiple', 'ResizeShortestEdge')


def pipeline_runs(reading: Reading) -> Iterator[Finding]:
    """The training pipeline cannot be built, or fails on an image."""
    try:
        errors = reading.sample.errors
    except NotReadError:
        cause = reading.build_errors.get('pipeline')
        if cause is None or isinstance(cause, KeyError):  # a name that is not registered
            raise
        yield not_built('train_dataloader.dataset.pipeline', cause)
        return
    if errors:
        path, message = errors[0]
        tried = len(errors) + len(reading.sample.images)
        yield error(
            path,
            f'the training pipeline fails: {message}'
            + (f' ({len(errors)} of {tried} images tried)' if len(errors) > 1 else ''),
            'if the file is damaged, replace it or leave it out; else look at the steps of '
            'train_dataloader.dataset.pipeline',
        )


def evaluation_pipelines(reading: Reading) -> Iterator[Finding]:
    """The validation or test pipeline cannot be built, or fails on the first image."""
    looked_at = []
    for split in ('val', 'test'):
        dataset = view.loader_of(reading.config, split).get('dataset')
        if not dataset or dataset in looked_at:  # test is often validation
            continue
        looked_at.append(dataset)
        problem = reading.first_image_problem(split)
        if problem is not None and not (split == 'val' and 'registry' in str(problem)):
            yield error(
                f'{split}_dataloader.dataset.pipeline',
                f'it cannot be built, or fails on the first image: {type(problem).__name__}: {problem}',
                'correct the step that the message names',
            )


def batch_shapes(reading: Reading) -> Iterator[Finding]:
    """Training images cannot be stacked to a batch of the preprocessor's size."""
    preprocessor = view.preprocessor_of(reading.config)
    size, divisor = preprocessor.get('size'), preprocessor.get('size_divisor')
    key = 'model.data_preprocessor.size'
    if (size is None) == (divisor is None) and 'type' in preprocessor:
        yield error(
            key,
            'the preprocessor of MMSegmentation needs exactly one of size and size_divisor; it has '
            + ('both' if size is not None else 'neither'),
            'data_preprocessor = dict(size=crop_size), as the recipes of MMSegmentation do',
        )
        return
    shapes = set(reading.sample.shapes)
    if size is None or not shapes:
        return
    size = (size, size) if isinstance(size, int) else tuple(size)
    larger = sorted(shape for shape in shapes if shape[0] > size[0] or shape[1] > size[1])
    if larger and len(shapes) > 1:
        yield error(
            key,
            f'{size} (height, width), and the pipeline gives images of {larger[-1]} and others: '
            'they cannot be stacked to a batch',
            'end the pipeline with a RandomCrop of this size before PackSegInputs',
        )
    elif larger:
        yield warning(
            key,
            f'{size} (height, width), and the pipeline gives images of {larger[-1]}',
            f'set it to what the pipeline gives: size={larger[-1]}',
        )


def annotations_after_resize(reading: Reading) -> Iterator[Finding]:
    """Validation labels are loaded before a resize, and so no longer fit the predictions."""
    places, fix = [], {}
    for split in ('val', 'test'):
        for key, steps in view.pipelines_of(reading.config, split):
            kinds = [view.type_name(step) for step in steps]
            if 'LoadAnnotations' not in kinds:
                continue
            place = kinds.index('LoadAnnotations')
            resize = next(
                (i for i, kind in enumerate(kinds) if kind in RESIZES and i > place), None
            )
            if resize is not None:
                places.append((f'{key}.{place}', kinds[resize]))
                fix[key] = [
                    *steps[:place],
                    *steps[place + 1 : resize + 1],
                    steps[place],
                    *steps[resize + 1 :],
                ]
    if places:  # val and test usually share their pipeline: one finding
        where, kind = places[0]
        yield error(
            where,
            f'LoadAnnotations stands before {kind}: predictions are made as large '
            'as the image file and the labels are not, so scoring fails or is of other pixels',
            'load the annotations after resizing:',
            fix=fix,
        )
