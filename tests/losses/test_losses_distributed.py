"""``sync=True``: two processes give the loss and the gradients of one on the joined batch."""

import torch
from mmseg.registry import MODELS
from torch.nn.parallel import DistributedDataParallel

from tests.support.losses import WEIGHTS, batch
from tests.support.ranks import run_ranks

SYNCED = {
    'recall': dict(type='RecallLoss', sync=True, class_weight=WEIGHTS),
    'dice': dict(type='SoftDiceLoss', sync=True, class_weight=WEIGHTS),
    'dice, by image': dict(type='SoftDiceLoss', sync=True, over='image'),
    'dice, micro': dict(type='SoftDiceLoss', sync=True, average='micro', smooth=1.0),
    'iou': dict(type='SoftIoULoss', sync=True),
    'tversky': dict(type='SoftTverskyLoss', sync=True, gamma=1.3),
    'dice, by class over images': dict(
        type='SoftDiceLoss', sync=True, over='image_class', class_weight=WEIGHTS
    ),
    'region size': dict(type='RegionSizeLoss', sync=True),
    'region size, batch': dict(type='RegionSizeLoss', sync=True, over='batch'),
    'centre lines': dict(type='CenterlineDiceLoss', sync=True, thin_classes=[1, 2]),
    'centre lines, by image': dict(
        type='CenterlineDiceLoss', sync=True, thin_classes=[1], over='image'
    ),
    'generalised dice': dict(type='GeneralizedDiceLoss', sync=True),
}
SIZE = (5, 7, 9)  # five images: three on one rank, two on the other
PARTS = (slice(0, 3), slice(3, 5))


def _network():
    torch.manual_seed(1)
    return torch.nn.Conv2d(5, 5, 1).double()


def _loss_and_gradients(images, labels, wrap):
    results = {}
    for name, config in SYNCED.items():
        network = wrap(_network())
        value = MODELS.build(config)(network(images), labels)
        value.backward()
        results[name] = (value.detach(), [p.grad for p in network.parameters()])
    return results


def _labels(case, labels):
    """All labels, or those of the second rank ignored altogether."""
    labels = labels.clone()
    if case == 'a rank with nothing':
        labels[PARTS[1]] = 255
    return labels


CASES = ('all labels', 'a rank with nothing')


def _rank(rank):
    images, labels = batch(size=SIZE)
    part = PARTS[rank]
    return {
        case: _loss_and_gradients(
            images[part].detach(), _labels(case, labels)[part], DistributedDataParallel
        )
        for case in CASES
    }


def test_two_ranks_are_one_process_on_the_joined_batch():
    images, labels = batch(size=SIZE)
    results = run_ranks(_rank, 2)
    for case in CASES:
        expected = _loss_and_gradients(images.detach(), _labels(case, labels), lambda net: net)
        for result in results:
            for name in SYNCED:
                torch.testing.assert_close(
                    result[case][name],
                    expected[name],
                    rtol=1e-12,
                    atol=1e-14,
                    msg=lambda text, name=name, case=case: f'{name}, {case}: {text}',
                )


def _counting_rank(rank):
    images, labels = batch(size=SIZE)
    loss = MODELS.build(dict(type='SoftmaxSeesawLoss', num_classes=5))
    loss(images[PARTS[rank]], labels[PARTS[rank]])
    return loss.seen_pixels


def test_seesaw_counts_the_pixels_of_all_ranks():
    images, labels = batch(size=SIZE)
    loss = MODELS.build(dict(type='SoftmaxSeesawLoss', num_classes=5))
    loss(images, labels)
    for seen in run_ranks(_counting_rank, 2):
        assert torch.equal(seen, loss.seen_pixels)
