"""Images of the classes that the model is worst at."""

import numpy as np
from mmseg.registry import DATA_SAMPLERS

from mmseg_balance.functional.sampling import performance_probabilities
from mmseg_balance.samplers.focused_index import FocusedIndex
from mmseg_balance.samplers.focused_sampler import FocusedSampler
from mmseg_balance.statistics import ClassStatistics


@DATA_SAMPLERS.register_module()
class ClassPerformanceSampler(FocusedSampler):
    """Images: of a class drawn by its performance, or any image.

    With probability ``uniform_ratio`` any image, all alike; else a class with probability
    proportional to 1 - IoU and then an image that has it, all alike (Rota Bulo et al., *Loss
    max-pooling*, section 4, "complementary sampling strategy"). ``ClassPerformanceHook`` reports
    the IoU during training; before its first report all classes are alike.

    Convention: draw k depends on the seed, k and the probabilities in force for it alone, so
    every rank knows the class sequence of all, takes each ``world_size``-th of it, and
    :meth:`jump` costs nothing. A report says from which draw on it holds, because loader workers
    have been given images some iterations ahead: resume is exact.

    Args:
        dataset: the training set.
        uniform_ratio: share of images drawn uniformly, in [0, 1].
        statistics: path, ``'auto'`` (default: scan the data set once) or object.
        seed: of the draws; common to all ranks.
        shuffle: True, what configs say of the ``InfiniteSampler`` that this one replaces.
    """

    def __init__(
        self,
        dataset,
        uniform_ratio: float = 0.5,
        statistics: str | ClassStatistics | None = None,
        seed: int | None = None,
        shuffle: bool = True,
    ) -> None:
        super().__init__(dataset, uniform_ratio, statistics, seed, shuffle)
        self.images_by_class = self.statistics.images_by_class
        self.available = self.statistics.images > 0
        if not self.available.any():
            raise ValueError('no image of the training set has a labelled class to draw for')
        self.class_draws = np.zeros(self.statistics.num_classes, dtype=np.int64)
        self._counted = 0  # the draws up to here are counted, in a resumed run before they are made
        unknown = np.full(self.statistics.num_classes, np.nan)
        self._schedule = [(0, performance_probabilities(unknown, self.available))]

    def on_draw(self, item: FocusedIndex) -> None:
        """Count the draws made for each class."""
        if self.position > self._counted:
            self._counted = self.position
            if item.focus_class is not None:
                self.class_draws[item.focus_class] += 1

    def probabilities_at(self, k: int) -> np.ndarray:
        """By the report that holds for draw ``k``."""
        return next(p for start, p in reversed(self._schedule) if start <= k)

    def report(self, iou: np.ndarray, start: int, consumed: int = 0) -> np.ndarray:
        """Take the classes' performance into account from draw ``start`` on.

        Args:
            iou: (C,) in [0, 1], nan where unknown.
            start: the first draw of this rank that it holds for.
            consumed: draws that training has used up; what held before them is forgotten.

        Returns:
            (C,) the probabilities that will hold.
        """
        probabilities = performance_probabilities(iou, self.available)
        entries = [(max(start, self.position), probabilities)]
        entries = [entry for entry in self._schedule if entry[0] < entries[0][0]] + entries
        while len(entries) > 1 and entries[1][0] <= consumed:
            entries.pop(0)
        self._schedule = [(0, entries[0][1]), *entries[1:]]
        return probabilities

    def state_dict(self) -> dict:
        """Return the probabilities in force and to come, and the counts, as plain lists."""
        return {
            'schedule': [(start, p.tolist()) for start, p in self._schedule],
            'class_draws': self.class_draws.tolist(),
            'counted': self._counted,
        }

    def load_state_dict(self, state: dict) -> None:
        """Take over what :meth:`state_dict` returned; older checkpoints have no counts."""
        self._schedule = [(int(start), np.asarray(p)) for start, p in state['schedule']]
        self.class_draws[:] = state.get('class_draws', 0)
        self._counted = state.get('counted', 0)
