"""A segmentor whose predictions are decided for a score, in testing."""

import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_balance.functional.decision import check_decision, decide_probs
from mmseg_balance.functional.logits import wide_dtype, widen


@MODELS.register_module()
class DecisionSegmentor(SegTTAModel):
    """Tests a segmentor with a decision rule in place of the argmax; logits stay as they are.

    Checkpoints of the segmentor load as they are. It serves scores that are means over images
    (mIoU^I, Dice per image), see :func:`~mmseg_balance.functional.decision.decide_probs`.

    Args:
        module: The segmentor, as ``model`` of its config. With ``mmseg-balance test --tta`` and this as
            ``tta_model`` it is filled in, and the views' mean probabilities are decided on.
        decision: ``'iou'``, ``'dice'`` or ``'argmax'``.
        data_preprocessor: As of ``BaseTTAModel``.
        pretrained: None, as ``mmseg.apis.init_model`` sets it; the module's own counts.
        train_cfg: None, likewise.

    Raises:
        ValueError: an unknown decision, or what belongs to the module.

    Example:
        In a config, with ``_base_`` the one that the checkpoint was trained with::

            model = dict(
                _delete_=True, type='DecisionSegmentor', decision='iou', module=_base_.model)
    """

    def __init__(
        self,
        module: dict | nn.Module,
        decision: str = 'iou',
        data_preprocessor: dict | nn.Module | None = None,
        pretrained: None = None,
        train_cfg: None = None,
    ) -> None:
        check_decision(decision)
        for name, value in (('pretrained', pretrained), ('train_cfg', train_cfg)):
            if value is not None:
                raise ValueError(f'{name}={value!r} belongs to the module: set module.{name}.')
        super().__init__(module, data_preprocessor)
        self.decision = decision

    @property
    def dataset_meta(self) -> dict:
        """The module's: ``show_result_pyplot`` takes ``.module`` for what it wraps, as DDP has it."""
        return self.module.dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        self.module.dataset_meta = meta

    @torch.no_grad()
    def test_step(self, data) -> list:
        """Data samples whose ``pred_sem_seg`` is decided by the rule."""
        if _has_views(data):
            return super().test_step(data)
        samples = self.module.test_step(data)
        if self.decision != 'argmax':
            for sample in samples:
                logits = sample.seg_logits.data
                sample.pred_sem_seg = self._decided(self._probs(logits), logits)
        return samples

    def val_step(self, data) -> list:
        """As :meth:`test_step`, so that a validation loop has the rule too."""
        return self.test_step(data)

    def train_step(self, data, optim_wrapper) -> dict:
        """Refuse to train: the rule has no gradient."""
        raise RuntimeError(
            'DecisionSegmentor is for testing: train the model that is its module, and test the '
            'checkpoint with DecisionSegmentor around it.'
        )

    def merge_preds(self, data_samples_list: list) -> list:
        """Decide on the mean probabilities of several views of each image."""
        merged = super().merge_preds(data_samples_list)
        if self.decision != 'argmax':
            for sample, views in zip(merged, data_samples_list, strict=True):
                probs = sum(self._probs(view.seg_logits.data) for view in views) / len(views)
                sample.pred_sem_seg = self._decided(probs, views[0].seg_logits.data)
        return merged

    def _probs(self, values: Tensor) -> Tensor:
        """``(C, H, W)`` probabilities of two classes or more.

        A one-channel head's ``seg_logits`` are sigmoid values already.
        """
        if len(values) == 1:
            values = widen(values)
            return torch.cat([1 - values, values])
        return values.softmax(0, dtype=wide_dtype(values))

    def _decided(self, probs: Tensor, values: Tensor) -> PixelData:
        pred = decide_probs(probs[None], self.decision)
        # MMSegmentation's predictions of a one-channel head are of the logits' type.
        return PixelData(data=pred.to(values) if len(values) == 1 else pred)


def _has_views(data) -> bool:
    """Whether a batch holds several views of each image, as ``TestTimeAug`` makes them."""
    inputs = data['inputs'] if isinstance(data, dict) else data[0]
    return isinstance(inputs, (list, tuple)) and isinstance(inputs[0], (list, tuple))
