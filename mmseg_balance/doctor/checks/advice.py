"""Which losses and samplers to try: every sentence that recommends something is here."""

from collections.abc import Iterator

from mmseg_balance.doctor.checks.imbalance import FEW_IMAGES
from mmseg_balance.doctor.findings import Finding, advice
from mmseg_balance.doctor.reading import Reading
from mmseg_balance.doctor.screen_cost import cost_text

FEW_PIXELS = (
    'few pixels in many images: losses that count classes or overlaps instead of pixels '
    '(SoftDiceLoss, SoftIoULoss, SoftTverskyLoss, WeightedCrossEntropyLoss, RecallLoss, LMPLoss)'
)
FEW_IMAGES_TEXT = (
    'few images: draw them more often (ClassPerformanceSampler with ClassPerformanceHook, '
    'BalanceBatchSampler, ClassCenteredCrop)'
)
DECIDE = (
    'mmseg-balance screen {config} CHECKPOINT compares them on your data: from the checkpoint of '
    'one ordinary training the decode head alone is trained further, once per method'
)


def what_to_try(reading: Reading) -> Iterator[Finding]:
    """What to compare for the rare classes, the command that decides, and its cost."""
    rare = reading.rare_classes
    if not rare:
        return
    statistics = reading.statistics
    part = statistics.images / max(statistics.num_images, 1)
    kinds = []
    if any(part[c] >= FEW_IMAGES for c in rare):
        kinds.append(FEW_PIXELS)
    if any(part[c] < FEW_IMAGES for c in rare):
        kinds.append(FEW_IMAGES_TEXT)
    decide = DECIDE.format(config=reading.config.filename or 'CONFIG')
    yield advice(
        'model.decode_head.loss_decode' if FEW_PIXELS in kinds else 'train_dataloader.sampler',
        'candidates for the rare classes: '
        + '; '.join(kinds)
        + '. No loss is best on every data set',
        '. '.join(filter(None, [decide, cost_text(reading)])),
    )
