"""The kernels against the eager primitives: on a GPU compiled, elsewhere in Triton's interpreter.

The eager primitives are tested against oracles of their own; here only the two must agree.
"""

from functools import partial

import pytest
import torch
from mmseg.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_balance.functional import backend

if not backend.TRITON_USABLE:
    pytest.skip('Triton 3 or later is not installed', allow_module_level=True)

from mmseg_balance.functional import primitives
from mmseg_balance.functional.labels import sum_by_label
from mmseg_balance.functional.logits import UpsampledLogits
from mmseg_balance.functional.primitives import dense, interpolation, upsampled
from mmseg_balance.functional.primitives.triton import launches as triton_primitives
from mmseg_balance.functional.primitives.triton import operators
from mmseg_balance.functional.primitives.triton.blocks import overlap_block
from mmseg_balance.functional.primitives.triton.tiles import line_tables

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'

# classes, height, width, dtype, power, weighted
SHAPES = [
    (2, 5, 7, torch.float32, 1, False),
    (3, 41, 401, torch.float32, 2, True),
    (19, 9, 70, torch.float16, 1.5, False),
    (19, 9, 70, torch.bfloat16, 2, True),
    (150, 13, 11, torch.float32, 2, False),
    (260, 3, 40, torch.float32, 1, True),
]
# low size, size, align_corners
SIZES = [
    ((5, 7), (20, 33), False),
    ((5, 7), (17, 25), True),
    ((1, 1), (6, 5), True),
    ((1, 6), (9, 3), False),
]


def batch(classes, height, width, dtype=torch.float32, size=None):
    """Logits and labels, the first rows ignored."""
    logits = (3 * torch.randn(2, classes, height, width)).to(DEVICE, dtype).requires_grad_()
    labels = torch.randint(classes, (2, *(size or (height, width))), device=DEVICE)
    labels[:, :2] = 255
    return logits, labels


def code_of(module, align_corners):
    """The kernels, or for None what they are compared with."""
    if module is not None:
        return module
    return dense if align_corners is None else upsampled


def nll_and_gradient(module, logits, labels, align_corners=None, ignore_index=255):
    code = code_of(module, align_corners)
    nll, hits = code.PixelNLL.apply(logits, labels, ignore_index, True, align_corners)
    # The loss is not the last operation: each pixel has a gradient of its own.
    factor = torch.linspace(-1, 2, nll.numel(), device=DEVICE).view_as(nll)
    (gradient,) = torch.autograd.grad((nll * factor).sum(), logits)
    return nll, hits, gradient


def sums_and_gradient(module, logits, labels, power=1, weight=None, align_corners=None, nll=False):
    """Of the sums; with ``nll`` of the pair."""
    *sums, losses = code_of(module, align_corners).OverlapSums.apply(
        logits, labels, 255, power, weight, nll, align_corners
    )
    factors = torch.linspace(-1, 2, 2 * sums[0].numel(), device=DEVICE).view(2, *sums[0].shape)
    score = (torch.stack(sums[:2]) * factors).sum()
    if nll:
        factor = torch.linspace(-2, 1, losses.numel(), device=DEVICE).view_as(losses)
        score = score + (losses * factor).sum()
        sums.append(losses)
    (gradient,) = torch.autograd.grad(score, logits)
    return *sums, gradient


def assert_agree(kernel, eager, dtype=torch.float32):
    """float32 sums up to their rounding; half-precision gradients up to one unit."""
    assert len(kernel) == len(eager)
    for ours, theirs in zip(kernel, eager, strict=True):
        assert ours.dtype == theirs.dtype
        rtol = 1e-5 if ours.dtype == torch.float32 else torch.finfo(dtype).eps
        atol = rtol * max(1, theirs.float().nan_to_num().abs().max().item())
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=rtol, atol=atol)


@pytest.mark.parametrize(('classes', 'height', 'width', 'dtype', 'power', 'weighted'), SHAPES)
def test_values_and_gradients(classes, height, width, dtype, power, weighted):
    logits, labels = batch(classes, height, width, dtype)
    weight = torch.rand(labels.shape, device=DEVICE) if weighted else None
    assert_agree(
        nll_and_gradient(triton_primitives, logits, labels),
        nll_and_gradient(None, logits, labels),
        dtype,
    )
    assert_agree(
        sums_and_gradient(triton_primitives, logits, labels, power, weight),
        sums_and_gradient(None, logits, labels, power, weight),
        dtype,
    )
    assert_agree(
        sums_and_gradient(triton_primitives, logits, labels, power, weight, nll=True),
        sums_and_gradient(None, logits, labels, power, weight, nll=True),
        dtype,
    )


@pytest.mark.parametrize(('low', 'size', 'align_corners'), SIZES)
def test_logits_of_low_resolution(low, size, align_corners):
    logits, labels = batch(6, *low, size=size)
    weight = torch.rand(labels.shape, device=DEVICE)
    assert_agree(
        nll_and_gradient(triton_primitives, logits, labels, align_corners),
        nll_and_gradient(None, logits, labels, align_corners),
    )
    for power, nll in ((1.5, True), (2, False), (2, True)):
        arguments = (logits, labels, power, weight, align_corners, nll)
        assert_agree(
            sums_and_gradient(triton_primitives, *arguments), sums_and_gradient(None, *arguments)
        )


def test_classes_in_several_blocks_of_low_resolution():
    logits, labels = batch(70, 3, 4, torch.float16, size=(7, 9))
    assert_agree(
        nll_and_gradient(triton_primitives, logits, labels, False),
        nll_and_gradient(None, logits, labels, False),
        torch.float16,
    )
    assert_agree(
        sums_and_gradient(triton_primitives, logits, labels, align_corners=False),
        sums_and_gradient(None, logits, labels, align_corners=False),
        torch.float16,
    )


def strided(kind):
    logits, labels = batch(5, 6, 9)
    logits = logits.detach()
    if kind == 'channels_last':
        logits = logits.to(memory_format=torch.channels_last)
    elif kind == 'cropped':
        logits = torch.nn.functional.pad(logits, (2, 3, 1, 1))[:, :, 1:-1, 2:-3]
    elif kind == 'every second column':
        logits = logits.repeat_interleave(2, 3)[..., ::2]
    elif kind == 'transposed':
        logits = logits.transpose(2, 3).contiguous().transpose(2, 3)
    elif kind == 'expanded':
        logits = logits[:, :, :1].expand(-1, -1, 6, -1)
    return logits.requires_grad_(), labels


@pytest.mark.parametrize(
    'kind', ['channels_last', 'cropped', 'every second column', 'transposed', 'expanded']
)
def test_strided_logits(kind):
    logits, labels = strided(kind)
    plain = logits.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    for primitive in (nll_and_gradient, sums_and_gradient):
        assert_agree(primitive(triton_primitives, logits, labels), primitive(None, plain, labels))


def test_strided_logits_of_low_resolution():
    logits, labels = batch(5, 4, 6, size=(8, 12))
    strided = logits.detach().to(memory_format=torch.channels_last).requires_grad_()
    for primitive in (nll_and_gradient, sums_and_gradient):
        assert_agree(
            primitive(triton_primitives, strided, labels, align_corners=False),
            primitive(None, logits, labels, align_corners=False),
        )


def test_all_ignored():
    logits, labels = batch(5, 4, 6)
    labels.fill_(255)
    nll, hits, gradient = nll_and_gradient(triton_primitives, logits, labels)
    assert not nll.any()
    assert not hits.any()
    assert not gradient.any()
    assert not any(value.any() for value in sums_and_gradient(triton_primitives, logits, labels))


@pytest.mark.parametrize('align_corners', [None, True])
def test_ignored_pixels_pass_nothing_on(align_corners):
    logits, labels = batch(5, 4, 6, size=(4, 6) if align_corners is None else (7, 11))
    labels.fill_(255)
    nll, _ = triton_primitives.PixelNLL.apply(logits, labels, 255, False, align_corners)
    (gradient,) = torch.autograd.grad(nll, logits, torch.full_like(nll, torch.nan))
    assert not gradient.any()


def test_an_ignored_class():
    logits, labels = batch(5, 6, 9)
    assert_agree(
        nll_and_gradient(triton_primitives, logits, labels % 5, ignore_index=0),
        nll_and_gradient(None, logits, labels % 5, ignore_index=0),
    )


def test_large_logits_stay_finite():
    logits, labels = batch(5, 6, 9)
    logits = (logits.detach() * 1e4).requires_grad_()
    nll, _, gradient = nll_and_gradient(triton_primitives, logits, labels)
    assert nll.isfinite().all()
    assert gradient.isfinite().all()
    torch.testing.assert_close(nll, nll_and_gradient(None, logits, labels)[0])


@pytest.mark.parametrize('align_corners', [None, False])
@pytest.mark.parametrize('junk', [torch.nan, torch.inf, -torch.inf])
def test_logits_of_ignored_pixels_are_never_read(junk, align_corners):
    """Value and gradient were NaN."""
    logits, labels = batch(5, 6, 9, size=(6, 9) if align_corners is None else (12, 18))
    labels[:, :7] = 255
    changed = logits.detach().clone()
    changed[:, :2] = torch.where(torch.arange(6, device=DEVICE)[:, None] < 2, junk, changed[:, :2])
    changed.requires_grad_()
    for primitive in (nll_and_gradient, partial(sums_and_gradient, nll=True)):
        expected = primitive(triton_primitives, logits, labels, align_corners=align_corners)
        found = primitive(triton_primitives, changed, labels, align_corners=align_corners)
        for ours, before in zip(found, expected, strict=True):
            assert torch.equal(ours, before)


def test_classes_that_are_minus_infinity():
    """NaN where the first block of classes, eight, was."""
    logits, labels = batch(19, 4, 6)
    labels[:] = torch.randint(10, 19, labels.shape, device=DEVICE)
    logits = logits.detach()
    logits[:, :9] = -torch.inf
    logits.requires_grad_()
    found = nll_and_gradient(triton_primitives, logits, labels)
    assert found[0].isfinite().all()
    assert_agree(found, nll_and_gradient(None, logits, labels))
    assert_agree(
        sums_and_gradient(triton_primitives, logits, labels, nll=True),
        sums_and_gradient(None, logits, labels, nll=True),
    )


@pytest.mark.parametrize('module', [triton_primitives, None], ids=['kernels', 'dense'])
@pytest.mark.parametrize('align_corners', [None, False])
@pytest.mark.parametrize('label', [-1, 3, 9, 300])
def test_a_label_out_of_range_is_not_a_number(label, align_corners, module):
    """It was a plausible loss of 1.40; -1 counted as ignored; the pixel left one sum of three."""
    logits, labels = batch(3, 4, 6, size=(4, 6) if align_corners is None else (8, 12))
    labels[0, 3, 5] = label
    nll, _, gradient = nll_and_gradient(module, logits, labels, align_corners)
    assert nll.isnan().sum() == 1
    assert nll[0, 3, 5].isnan()
    assert gradient[0].isnan().any()
    assert not gradient[1].isnan().any()
    for part in sums_and_gradient(module, logits, labels, align_corners=align_corners)[:3]:
        assert part[0].isnan().all()
        assert part[1].isfinite().all()


@pytest.mark.parametrize('name', ['triton', 'eager'])
@pytest.mark.parametrize('label', [-1, 3, 300])
def test_a_sum_by_a_label_out_of_range_is_not_a_number(label, name, monkeypatch):
    monkeypatch.setattr(backend, 'BACKEND', name)
    _, labels = batch(3, 4, 6)
    labels[0, 3, 5] = label
    sums = sum_by_label(torch.ones(labels.shape, device=DEVICE), labels, 3)
    assert sums[0].isnan().all()
    assert sums[1].isfinite().all()


@pytest.mark.parametrize('align_corners', [False, True])
def test_tables_are_not_copied_nor_kept_while_a_graph_is_captured(align_corners, monkeypatch):
    """A copy from the host is illegal there, and a kept table would outlive the graph's memory."""
    device, copies = torch.device('meta'), []

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            copies.append('copy' in operation._schema.name and (kwargs or {}).get('device'))
            return operation(*args, **(kwargs or {}))

    with Copies():
        first = line_tables(5, 20, align_corners, device)
    assert not any(copies)
    assert line_tables(5, 20, align_corners, device)[0] is first[0]
    monkeypatch.setattr(torch.cuda, 'is_current_stream_capturing', lambda: True)
    monkeypatch.setattr(interpolation, 'DEVICES_WITH_GRAPHS', ('cuda', 'meta'))
    captured = line_tables(5, 20, align_corners, device)
    assert captured[0] is not first[0]
    assert captured[3] == first[3]


@pytest.fixture
def _triton_everywhere(monkeypatch):
    monkeypatch.setattr(backend, 'BACKEND', 'triton')


@pytest.mark.usefixtures('_triton_everywhere')
@pytest.mark.parametrize('align_corners', [None, False])
def test_one_channel(align_corners):
    logits, labels = batch(1, 5, 7, size=(5, 7) if align_corners is None else (11, 13))
    labels[:, 2:] = torch.randint(2, labels[:, 2:].shape, device=DEVICE)
    full = (
        logits
        if align_corners is None
        else torch.nn.functional.interpolate(
            logits, labels.shape[1:], mode='bilinear', align_corners=align_corners
        )
    )
    valid = labels != 255
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        full.squeeze(1)[valid], labels[valid].float(), reduction='none'
    )
    if align_corners is not None:
        logits = UpsampledLogits(logits, labels.shape[1:], align_corners)
    nll = primitives.pixel_nll(logits, labels)
    torch.testing.assert_close(nll[valid], expected)
    intersection, _, target = primitives.overlap_sums(logits, labels)
    probability = full.squeeze(1).sigmoid()[valid]
    torch.testing.assert_close(intersection[1], probability[labels[valid] == 1].sum())
    assert target.tolist() == [(labels == 0).sum(), (labels == 1).sum()]


@pytest.mark.usefixtures('_triton_everywhere')
def test_chosen_for_float32_and_half_only():
    logits, _ = batch(5, 4, 6)
    assert backend.uses_triton(logits)
    assert backend.uses_triton(logits.bfloat16())
    assert not backend.uses_triton(logits.double())
    assert not backend.uses_triton(logits[:, :1].expand(-1, 1025, -1, -1))
    assert not backend.uses_triton(logits[:0])


def test_the_same_sums_every_time():
    logits, labels = batch(7, 20, 33)
    runs = [sums_and_gradient(triton_primitives, logits, labels) for _ in range(2)]
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))


class Operations(TorchDispatchMode):
    """Counts what a GPU would have to launch."""

    WITHOUT_LAUNCH = {
        'view',
        '_unsafe_view',
        'unsqueeze',
        'squeeze',
        'expand',
        'select',
        'slice',
        't',
        'transpose',
        'permute',
        'detach',
        'alias',
        'unbind',
        'empty',
        'empty_like',
        'promote_types',
    }

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation._schema.name.split('::')[1]
        self.number += name not in self.WITHOUT_LAUNCH
        return operation(*args, **(kwargs or {}))


@pytest.mark.usefixtures('_triton_everywhere')
@pytest.mark.parametrize(
    ('loss', 'most'),
    [
        ('WeightedCrossEntropyLoss', 15),
        ('SoftmaxFocalLoss', 25),
        ('LMPLoss', 25),
        ('OHEMCrossEntropyLoss', 25),
        ('RecallLoss', 30),
        ('SoftDiceLoss', 40),
        ('SoftIoULoss', 40),
        ('SoftTverskyLoss', 50),
        ('GeneralizedDiceLoss', 50),
    ],
)
def test_few_launches(loss, most, monkeypatch):
    # As an operator a kernel counts once, and not what the interpreter does for it.
    monkeypatch.setattr(operators, 'is_compiling', lambda: True)
    # Labels on a CPU take another way.
    monkeypatch.setattr('mmseg_balance.functional.labels._numpy_takes', lambda labels: False)
    logits, labels = batch(3, 5, 7)
    loss = MODELS.build(dict(type=loss))
    with Operations() as operations:
        torch.autograd.grad(loss(logits, labels, ignore_index=255), logits)
    assert operations.number <= most


@pytest.mark.parametrize('classes', [2, 19, 150])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bool])
def test_sums_by_label(classes, dtype, monkeypatch):
    _, labels = batch(classes, 9, 31)
    values = torch.rand(labels.shape, device=DEVICE).sub(0.3).to(dtype)
    monkeypatch.setattr(backend, 'BACKEND', 'eager')
    expected = sum_by_label(values, labels, classes)
    monkeypatch.setattr(backend, 'BACKEND', 'triton')
    torch.testing.assert_close(sum_by_label(values, labels, classes), expected)


@pytest.mark.parametrize('classes', [2, 19, 21, 150, 1024])
def test_a_block_holds_all_classes(classes):
    for interpolated in (False, True):
        block = overlap_block(classes, interpolated)
        assert block['BLOCK_C'] >= classes
        assert block['BLOCK_P'] >= 4  # the sums take four pixels at a time
