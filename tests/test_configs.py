"""Every config parses, builds, says how it is launched, and copies nothing."""

import copy
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.config import config as config_module
from mmengine.config.utils import _get_external_cfg_base_path
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, HOOKS, METRICS, MODELS, OPTIMIZERS, TRANSFORMS
from mmseg.structures import SegDataSample

import mmseg_balance  # noqa: F401  registers what the configs name
from mmseg_balance.statistics import ClassStatistics

CONFIGS = Path(__file__).parents[1] / 'configs'
RECIPES = sorted(CONFIGS.glob('*.py'))
LOSSES = sorted((CONFIGS / '_base_' / 'losses').glob('*.py'))
SMALL = [
    path
    for path in RECIPES
    if any(part in path.stem for part in ('_small', '_lite0_', 'street_scenes'))
]
TWINS = [
    path
    for path in RECIPES
    if '_lmp_' in path.stem and path.with_name(path.name.replace('_lmp_', '_ce_')).exists()
]

by_name = pytest.mark.parametrize


@pytest.fixture(autouse=True)
def _mmseg_scope():
    init_default_scope('mmseg')


@pytest.fixture(autouse=True, scope='module')
def _bases_found_at_once():
    """MMEngine reads the metafiles of all models before it looks among the bases."""
    original = config_module._get_external_cfg_path
    config_module._get_external_cfg_path = _get_external_cfg_base_path
    yield
    config_module._get_external_cfg_path = original


@lru_cache
def parsed(path: Path) -> Config:
    return Config.fromfile(path)


def load(path: Path) -> Config:
    config = copy.deepcopy(parsed(path))
    config.model.pretrained = None  # nothing is downloaded
    return config


def nested(value):
    """Yield every dict below `value`."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from nested(item)


def train_batch(num_classes: int, size: int = 64) -> tuple[torch.Tensor, list[SegDataSample]]:
    labels = torch.randint(num_classes, (2, 1, size, size))
    labels[..., :4] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    return torch.randn(2, 3, size, size), samples


class TestEveryRecipe:
    @by_name('path', RECIPES, ids=lambda path: path.stem)
    def test_builds_a_model_of_its_classes(self, path):
        config = load(path)
        with torch.device('meta'):
            model = MODELS.build(config.model)
        heads = [model.decode_head, *([model.auxiliary_head] if model.with_auxiliary_head else [])]
        assert {head.num_classes for head in heads} == {config.num_classes}
        assert model.data_preprocessor is not None

    @by_name('path', RECIPES, ids=lambda path: path.stem)
    def test_names_only_what_is_registered(self, path):
        config = load(path)
        for step in config.train_pipeline + config.test_pipeline:
            assert TRANSFORMS.get(step['type']), step
        for metric in config.val_evaluator:
            assert METRICS.get(metric['type']), metric
        for hook in config.get('custom_hooks', []):
            assert HOOKS.build(hook) is not None
        assert OPTIMIZERS.get(config.optim_wrapper.optimizer.type)
        for part in nested(config.train_dataloader.dataset):
            if str(part.get('type', '')).endswith('Dataset'):
                assert DATASETS.get(part['type']), part

    @by_name('path', RECIPES, ids=lambda path: path.stem)
    def test_opens_with_its_launch_command(self, path):
        first = path.read_text().splitlines()[0]
        assert first.startswith(('# mmseg-balance train ', '# bash tools/dist_train.sh '))
        assert f' configs/{path.name}' in first

    @by_name('path', RECIPES, ids=lambda path: path.stem)
    def test_is_composed(self, path):
        """A recipe names its parts; what a model or a loss consists of is said in one base."""
        text = path.read_text()
        assert len(text.splitlines()) <= 45
        assert '_base_ = [' in text
        assert 'loss_decode=_base_.loss_decode' in text
        assert "type='EncoderDecoder'" not in text

    @by_name('path', RECIPES, ids=lambda path: path.stem)
    def test_the_crop_is_what_the_preprocessor_pads_to(self, path):
        config = load(path)
        assert tuple(config.model.data_preprocessor.size) == tuple(config.crop_size)
        for step in config.train_pipeline:
            if 'crop_size' in step:
                assert tuple(step['crop_size']) == tuple(config.crop_size)

    @by_name('path', RECIPES, ids=lambda path: path.stem)
    def test_no_training_batch_of_one(self, path):
        """The image pooling of DeepLabV3 has a batch norm on 1x1 maps."""
        loader = load(path).train_dataloader
        assert loader.batch_size >= 2
        endless = 'batch_sampler' in loader or loader.sampler.type in (
            'InfiniteSampler',
            'ClassPerformanceSampler',
            'RareClassSampler',
            'RepeatFactorSampler',
        )
        assert endless or loader.drop_last


class TestTwins:
    @by_name('path', TWINS, ids=lambda path: path.stem)
    def test_differ_in_nothing_but_the_loss(self, path):
        stock_path = path.with_name(path.name.replace('_lmp_', '_ce_'))
        ours, stock = load(path).to_dict(), load(stock_path).to_dict()
        assert ours['model']['decode_head'].pop('loss_decode')[0]['type'] == 'LMPLoss'
        assert stock['model']['decode_head'].pop('loss_decode') == [
            dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
        ]
        del ours['loss_decode'], stock['loss_decode']
        assert ours == stock


class TestSmall:
    """What the README promises to run on two cores, by MMSegmentation's own scripts too."""

    @by_name('path', SMALL, ids=lambda path: path.stem)
    def test_needs_no_gpu_and_no_download(self, path):
        config = parsed(path)
        assert config.model.pretrained is None
        assert {part['type'] for part in nested(config.model) if 'requires_grad' in part} == {'BN'}
        assert config.env_cfg.dist_cfg.backend == 'gloo'
        assert config.custom_imports['imports'] == ['mmseg_balance']


@pytest.fixture(scope='module')
def statistics(tmp_path_factory):
    rows = np.random.default_rng(0).integers(1, 5000, (6, 11))
    names = [f'class {i}' for i in range(11)]
    return ClassStatistics.from_rows(names, rows).save(
        tmp_path_factory.mktemp('statistics') / 'eleven.npz'
    )


class TestLossStep:
    @by_name('model', ['deeplabv3', 'fcn'])
    @by_name('path', LOSSES, ids=lambda path: path.stem)
    def test_is_finite_and_trains(self, path, model, statistics):
        loss = Config.fromfile(path)
        assert isinstance(loss.loss_decode, list)
        for part in nested(loss.loss_decode):
            if part.get('statistics') == 'auto':
                part['statistics'] = str(statistics)
        config = load(CONFIGS / f'{model}_ce_camvid_small.py')
        config.model.decode_head.loss_decode = loss.loss_decode
        segmentor = MODELS.build(config.model).train()
        images, samples = train_batch(11)
        losses = segmentor.loss(images, samples)
        total, _ = segmentor.parse_losses(losses)
        total.backward()
        assert torch.isfinite(total)
        gradient = segmentor.decode_head.conv_seg.weight.grad
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0


@pytest.mark.requires_data('camvid', 'ccp', 'chase_db1')
class TestRealData:
    @by_name('name', ['camvid', 'camvid_small', 'ccp', 'ccp_small', 'chase_db1', 'chase_db1_small'])
    def test_loads_labels_of_its_classes(self, name, monkeypatch):
        monkeypatch.chdir(CONFIGS.parent)
        config = load(CONFIGS / f'deeplabv3_ce_{name}.py')
        for loader in (config.train_dataloader, config.val_dataloader):
            dataset = DATASETS.build(loader.dataset)
            assert len(dataset.metainfo['classes']) == config.num_classes
            item = dataset[0]
            labels = item['data_samples'].gt_sem_seg.data
            assert set(labels.unique().tolist()) <= {*range(config.num_classes), 255}
            assert (labels != 255).any()
            if loader is config.train_dataloader:
                assert all(
                    a <= b for a, b in zip(item['inputs'].shape[1:], config.crop_size, strict=True)
                )


class TestOwnDataRecipe:
    """The configs shown in docs/my_own_data.md, as they stand there."""

    def test_parses_and_builds(self, tmp_path, repository):
        blocks = (repository / 'docs' / 'my_own_data.md').read_text().split('```python\n')[1:]
        base, recipe = (block.split('```')[0] for block in blocks[:2])
        shutil.copytree(CONFIGS / '_base_', tmp_path / '_base_')
        (tmp_path / '_base_' / 'datasets' / 'mine.py').write_text(base)
        (tmp_path / 'mine.py').write_text(recipe)
        config = load(tmp_path / 'mine.py')
        assert config.train_dataloader.dataset.metainfo.classes[2] == 'blight'
        with torch.device('meta'):
            model = MODELS.build(config.model)
        assert model.decode_head.num_classes == model.auxiliary_head.num_classes == 3

    def test_three_lines_in_a_stock_config(self, tmp_path, repository):
        blocks = (repository / 'docs' / 'my_own_data.md').read_text().split('```python\n')[1:]
        stock = [
            f"'mmseg::_base_/{part}.py'"
            for part in (
                'models/fcn_r50-d8',
                'datasets/cityscapes',
                'default_runtime',
                'schedules/schedule_40k',
            )
        ]
        path = tmp_path / 'stock.py'
        path.write_text(f'_base_ = [{", ".join(stock)}]\n' + blocks[2].split('```')[0])
        with torch.device('meta'):
            model = MODELS.build(load(path).model)
        assert type(model.decode_head.loss_decode).__name__ == 'LMPLoss'

    def test_a_stock_config_to_screen(self, tmp_path, repository):
        blocks = (repository / 'docs' / 'screen.md').read_text().split('```python\n')[1:]
        path = tmp_path / 'segformer_camvid.py'
        path.write_text(blocks[0].split('```')[0])
        config = load(path)
        assert config.model.decode_head.loss_decode.type == 'CrossEntropyLoss'
        splits = [config[f'{x}_dataloader'].dataset.split for x in ('train', 'val', 'test')]
        assert splits == ['train', 'dev', 'test']
        assert MODELS.build(config.model).decode_head.num_classes == 11
