"""Every check: one function that takes a :class:`Reading` and yields findings."""

from collections.abc import Callable, Iterator

from mmseg_balance.doctor.checks import (
    advice,
    class_weights,
    files,
    heads,
    ignore_index,
    imbalance,
    labels,
    losses,
    metrics,
    parts,
    pipeline,
    runtime,
    samplers,
    schedule,
    splits,
)
from mmseg_balance.doctor.findings import Finding
from mmseg_balance.doctor.reading import Reading

Check = Callable[[Reading], Iterator[Finding]]

# In the order of the report: what stops a training first.
CHECKS: dict[str, tuple[Check, ...]] = {
    'Labels and images': (
        splits.dataset_builds,
        files.files_missing,
        files.files_unreadable,
        files.label_colours,
        labels.label_range,
        labels.masks_0_255,
        labels.reduce_zero_label,
        labels.zero_label_splits,
        files.sizes_differ,
        splits.class_names_agree,
        labels.never_labelled,
        labels.one_split_only,
        labels.unlabelled_share,
        labels.images_without_labels,
        splits.validation_is_training,
    ),
    'Pipeline': (
        pipeline.pipeline_runs,
        pipeline.evaluation_pipelines,
        pipeline.batch_shapes,
        pipeline.annotations_after_resize,
    ),
    'Heads': (
        heads.num_classes,
        heads.out_channels,
        heads.one_channel_loss,
        heads.threshold,
        heads.batch_of_one,
    ),
    'Losses': (
        class_weights.class_weight_ignored,
        class_weights.class_weight_length,
        class_weights.class_weight_sigmoid,
        losses.dice_pools_classes,
        losses.focal_softmax,
        losses.not_for_this_head,
        losses.sigmoid_of_classes,
        losses.loss_not_optimised,
        losses.loss_name_shared,
        losses.ohem,
        losses.average_over_ignored,
        losses.float16_sum,
    ),
    'Ignored label': (
        ignore_index.dataset_ignore_index,
        ignore_index.metric_ignore_index,
        ignore_index.loss_ignore_index,
        ignore_index.unpassed_ignore_index,
        ignore_index.padding,
        ignore_index.crop_ignore_index,
        ignore_index.no_ignore_index,
    ),
    'Samplers': (
        samplers.sampler_place,
        samplers.sampler_without_reports,
        samplers.min_classes,
        samplers.draws_in_order,
    ),
    'Schedule': (
        schedule.scheduler_length,
        schedule.scheduler_by_epoch,
        schedule.intervals,
        schedule.loss_schedule,
        schedule.learning_rate,
    ),
    'Run': (
        runtime.custom_imports,
        runtime.plugin_imported,
        runtime.registered_names,
        parts.split_parts,
        parts.loop_arguments,
        parts.persistent_workers,
        parts.slide_mode,
        parts.evaluators_build,
        parts.weights_missing,
        runtime.misspelt_keys,
        runtime.sync_bn,
        runtime.slow_resume,
        runtime.seed,
    ),
    'Imbalance': (
        imbalance.rare_classes,
        imbalance.seen_in_training,
        imbalance.lost_in_crops,
        imbalance.thin_classes,
        imbalance.cat_max_ratio,
        metrics.only_miou,
        advice.what_to_try,
    ),
}
# After all others, and only if they found no error: most errors stop the model from being built.
AFTER_ERRORS: dict[str, tuple[Check, ...]] = {
    'Heads': (heads.model_builds, heads.model_runs),
    'Schedule': (schedule.optimizer_builds,),
}


def name_of(check: Check) -> str:
    """Name of a check in reports.

    >>> name_of(labels.label_range)
    'label-range'
    """
    return check.__name__.replace('_', '-')


def what_it_finds(check: Check) -> str:
    """First sentence of a check's docstring: what is wrong when it reports something."""
    return check.__doc__.strip().split('\n')[0]


def table() -> list[tuple[str, str, str]]:
    """Subject, name and meaning of every check, for the documentation."""
    rows = []
    for subject, checks in CHECKS.items():
        late = AFTER_ERRORS.get(subject, ())
        rows += [(subject, name_of(one), what_it_finds(one)) for one in (*checks, *late)]
    return rows


def markdown_table() -> str:
    """The table of the documentation."""
    lines = ['| about | check | what is wrong |', '|---|---|---|']
    subject = ''
    for about, name, meaning in table():
        lines.append(f'| {about if about != subject else ""} | `{name}` | {_markdown(meaning)} |')
        subject = about
    return '\n'.join(lines)


def _markdown(text: str) -> str:
    return text.replace('``', '`').removesuffix('.')
