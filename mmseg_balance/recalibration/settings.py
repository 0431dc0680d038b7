"""What ``calibrate`` is asked for, and the refusal of what makes no sense."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from mmseg_balance.runtime.atomic_files import check_output

FIT_ON = ('half', 'first-half', 'all')
# What a method fits, and the score that it must improve on images that it was not fitted on.
METHODS = {
    'temperature': 'NLL',
    'class-temperature': 'NLL',
    'vector': 'NLL',
    'iou-bias': 'mIoU',
    'recall-bias': 'mRecall',
}
JUDGES = ('NLL', 'mIoU', 'mIoU_I', 'mIoU_C', 'mRecall', 'acc')


@dataclass(frozen=True)
class Settings:
    """What ``calibrate`` is asked for.

    Attributes:
        fit_on: ``'half'``: fit on every second group of validation images, judge on the others;
            ``'first-half'``: on the first half of the groups and the second; ``'all'``: fit on all
            of them, judge by cross-fitting (each image under the map fitted without its group).
        method: One of ``METHODS``.
        groups: Images that depend on each other, see
            :func:`~mmseg_balance.functional.groups.make_groups`.
        judge_by: One of ``JUDGES``; None takes the method's own, mIoU with ``prior_tau``.
        accuracy_drop: What accuracy may fall by where mean recall is judged, a fraction.
        temperature: Fixed instead of fitted.
        prior_tau: Strength of the logit adjustment by the training priors; 0 for none.
        statistics: Training-set statistics for the priors: a path or ``'auto'``.
        ignore_index: Label to leave out; None takes the decode head's.
        num_bins: Bins of the calibration scores.
    """

    fit_on: str = 'half'
    method: str = 'temperature'
    groups: str = 'images'
    judge_by: str | None = None
    accuracy_drop: float = 0.01
    temperature: float | None = None
    prior_tau: float = 0.0
    statistics: str = 'auto'
    ignore_index: int | None = None
    num_bins: int = 10

    @property
    def judge(self) -> str:
        """The score that must improve.

        Example:
            >>> Settings().judge, Settings(prior_tau=1.).judge, Settings(judge_by='acc').judge
            ('NLL', 'mIoU', 'acc')
        """
        return self.judge_by or ('mIoU' if self.prior_tau else METHODS[self.method])


def check_settings(settings: Settings, checkpoint: str, out: str) -> None:
    """Refuse a wrong setting, or a place for the new checkpoint, before anything is loaded.

    Args:
        settings: What is asked for.
        checkpoint: The trained checkpoint, a file or URL.
        out: The new one.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """
    for name, allowed in (('fit_on', FIT_ON), ('method', METHODS), ('judge_by', JUDGES)):
        value = getattr(settings, name)
        if value is not None and value not in allowed:
            raise ValueError(f'{name} is {value!r}; it must be one of {", ".join(allowed)}.')
    if settings.temperature is not None and not 0 < settings.temperature < float('inf'):
        raise ValueError(f'temperature is {settings.temperature}; it must be positive.')
    if not isfinite(settings.prior_tau):
        raise ValueError(f'prior_tau is {settings.prior_tau}; it must be finite, 0 for no change.')
    if not 0 <= settings.accuracy_drop < 1:
        raise ValueError(
            f'accuracy_drop is {settings.accuracy_drop}; it is a fraction in [0, 1), such as 0.01.'
        )
    if settings.method != 'temperature' and (settings.temperature or settings.prior_tau):
        raise ValueError(
            f'method is {settings.method!r}; temperature and prior_tau go with the method '
            "'temperature' alone."
        )
    check_output('--out', out, inputs={'checkpoint': checkpoint})
    if not Path(out).resolve().parent.is_dir():
        raise ValueError(f'the folder of {out} does not exist; make it first.')
