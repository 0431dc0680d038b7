"""What ``mmseg-balance screen`` would cost, said before it is started."""

import math
from pathlib import Path

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.reading import NotReadError, Reading
from mmseg_balance.experiments.compare import config_roots
from mmseg_balance.experiments.progress import number_of, time_text
from mmseg_balance.experiments.screen.command import HEADS, SHARE_OF_TRAINING, every_loss
from mmseg_balance.experiments.training_log import cost, read_scalars

TRAINED = 3  # a forward and a backward pass, in forward passes


def cost_text(reading: Reading) -> str:
    """Iterations, passes and time of a screening of all losses with one seed, as a sentence.

    Convention: a pass costs a forward pass of everything but the heads, and a forward and a
    backward pass of each head; a training step a forward and a backward pass of all. Scoring is
    not in it. Empty if the length of the training is not known.
    """
    if not reading.iterations:
        return ''
    heads = len(every_loss(config_roots(reading.config.filename or '.')))
    passes = math.ceil(heads / HEADS)
    iterations = max(1, round(SHARE_OF_TRAINING * reading.iterations))
    share = _head_share(reading)
    steps = iterations * (passes * (1 - share) / TRAINED + heads * share)
    text = (
        f'Expected cost of all {heads} losses, one seed: {number_of(iterations, "iteration")} in '
        f'{number_of(passes, "pass")} over the data, about as much as {steps:.0f} steps of this training'
    )
    folder = _work_dir(reading)
    seconds = cost(read_scalars(folder))['seconds_per_iteration']
    if seconds:
        text += f', {time_text(steps * seconds)} at {seconds:.2g} s a step (log in {folder})'
    text += ', and scoring; --losses A B takes fewer'
    if view.max_epochs(reading.config):
        text += (
            '. screen counts iterations: give it this config with '
            f"train_cfg=dict(type='IterBasedTrainLoop', max_iters={reading.iterations})"
        )
    return text


def _head_share(reading: Reading) -> float:
    try:
        return reading.model.head_share
    except NotReadError:
        return 1.0


def _work_dir(reading: Reading) -> Path:
    """Where MMSegmentation's ``tools/train.py`` puts a training of this config."""
    name = Path(reading.config.filename or 'config').stem
    return Path(reading.config.get('work_dir') or Path('work_dirs', name))
