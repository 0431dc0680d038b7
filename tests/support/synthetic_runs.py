"""Confusion matrices of runs whose true scores are known, drawn from a population."""

import numpy as np
from scipy.stats import norm

from mmseg_balance.functional.per_image import resampled_scores

IMAGES_OF_GROUP = 3
LOGITS = np.array([2.0, 1.0, 0.0])  # of the recall of a frequent, a medium and a rare class
PIXELS = np.array([5000.0, 800.0, 100.0])
SEED, GROUP, IMAGE, RUN = 0.15, 0.4, 0.8, 0.3  # standard deviations of the effects, in logits


def confusions(random, effects, seed_effects, groups):
    """``(methods, seeds, images, C, C)`` and ``(images,)`` groups.

    The logit of a class's recall is the sum of the method's effect ``effects (methods,)``, those of
    each of its seeds ``seed_effects (methods, seeds)``, of the image, of the method on the group,
    and of the run on the image. Images lack each class but the first in half the cases.
    """
    methods, seeds = seed_effects.shape
    images = groups * IMAGES_OF_GROUP
    group_of = np.repeat(np.arange(groups), IMAGES_OF_GROUP)
    pixels = PIXELS * random.lognormal(0, 0.5, (images, 3))
    pixels[:, 1:] *= random.random((images, 2)) < 0.5
    logits = (
        LOGITS
        + IMAGE * random.standard_normal((images, 1))
        + (effects[:, None] + seed_effects)[:, :, None, None]
        + GROUP * random.standard_normal((methods, 1, groups, 1))[:, :, group_of]
        + RUN * random.standard_normal((methods, seeds, images, 1))
    )
    recall = 1 / (1 + np.exp(-logits))
    # What is missed goes to the image's classes, in equal parts.
    present = (pixels > 0) / (pixels > 0).sum(1, keepdims=True)
    made = (pixels * (1 - recall))[..., None] * present[:, None]
    made[..., range(3), range(3)] += pixels * recall
    return made, group_of


def draw(random, effects, seeds, groups):
    """Runs as ``differences`` takes them, ``runs[method][seed]``, and the groups of the images."""
    seed_effects = SEED * random.standard_normal((len(effects), seeds))
    made, group_of = confusions(random, np.asarray(effects), seed_effects, groups)
    return {method: dict(enumerate(of_method)) for method, of_method in enumerate(made)}, group_of


def true_differences(effect, groups, data_sets=250, seeds=60):
    """Expected difference of each score from a method without effect, over seeds and data sets.

    Many data sets of ``groups`` groups are drawn at once; seeds are quantiles of their
    distribution.
    """
    random = np.random.default_rng(99)
    quantiles = SEED * norm.ppf((np.arange(seeds) + 0.5) / seeds)
    made, group_of = confusions(
        random, np.array([0.0, effect]), np.stack([quantiles, quantiles]), data_sets * groups
    )
    data_set_of, each = group_of // groups, np.eye(data_sets)
    means = [[resampled_scores(run, each, data_set_of) for run in of_method] for of_method in made]
    return {
        name: float(
            np.mean([run[name] for run in means[1]]) - np.mean([run[name] for run in means[0]])
        )
        for name in means[0][0]
    }
