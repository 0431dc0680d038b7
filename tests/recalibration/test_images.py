"""What the validation images are worth before and after a map."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils.data import DataLoader

from mmseg_balance.recalibration import images
from mmseg_balance.recalibration.logit_map import LogitMap


def test_ignored_pixels_do_not_count_as_changed(monkeypatch):
    """They are none of the ``pixels`` that the report counts beside."""
    logits = torch.tensor([0.1, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
    labels = torch.tensor([[[0, 1, 255, 255]]])
    monkeypatch.setattr(images, 'images_of', lambda *_: [(logits, labels)])
    flipped = LogitMap((1.0, 1.0), (0.0, 1.0))
    _, after, changed = images.measure(None, None, [flipped], None, 255, 10)
    assert changed == after.sums.pixels.sum() == 2


def test_every_image_is_measured_whatever_the_validation_leaves_out():
    """``drop_last`` of the validation left images without the map that was fitted for them."""
    config = Config(dict(val_dataloader=dict(batch_size=2, drop_last=True, num_workers=0)))
    dataset = [dict(inputs=torch.zeros(1), data_samples=k) for k in range(3)]
    loader = images.loader_of(config, dataset, range(3))
    assert [sample for batch in loader for sample in batch['data_samples']] == [0, 1, 2]


def test_annotations_that_the_pipeline_resized_are_named(monkeypatch):
    sample = SegDataSample()
    sample.seg_logits = PixelData(data=torch.zeros(2, 4, 6))
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 2, 3))
    monkeypatch.setattr(images, 'predicted_logits', lambda model, batch: [batch])
    with pytest.raises(ValueError, match='does the test pipeline resize the annotations'):
        next(images.images_of(None, DataLoader([sample], batch_size=None), 'Pixels'))
