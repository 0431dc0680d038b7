"""What the validation measures."""

from collections.abc import Iterator

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, advice
from mmseg_balance.doctor.fixes import REGISTER
from mmseg_balance.doctor.reading import Reading


def only_miou(reading: Reading) -> Iterator[Finding]:
    """Rare classes, and a metric that does not tell them apart."""
    metrics = view.metrics_of(reading.config)
    kinds = {view.type_name(metric) for _, metric in metrics}
    if kinds != {'IoUMetric'} or not reading.rare_classes:
        return
    given = [dict(metric) for _, metric in metrics]
    yield advice(
        'val_evaluator',
        'IoUMetric alone: one mean over classes, in which the IoU of a rare class rests on few '
        'pixels; recall, false alarms and rare classes as a group are not shown',
        fix={'val_evaluator': [*given, dict(type='ImbalanceMetric')], **REGISTER},
    )
