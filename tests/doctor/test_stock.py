"""MMSegmentation's own configs, as they are shipped, are free of errors and warnings.

But for four findings, which are right:

- ``dice-pools-classes``: the U-Net recipes with Dice use the stock loss on two classes, which
  adds both up before it divides (seg#3172, PR #2996);
- ``class-weight-ignored``: the CGNet recipes give the stock cross entropy class weights and
  Cityscapes has pixels of label 255: IndexError on 1.2.2 (seg#3831, #3734, fix in PR #3457);
- ``misspelt-keys`` and ``batch-shapes``: the BiSeNetV2 recipe with OHEM writes ``models = dict(…)``,
  so that neither its sampler nor the size of its batches takes effect, and a preprocessor with
  neither size nor size_divisor stops at the first batch (AssertionError in ``stack_batch``).
"""

from pathlib import Path

import mmseg
import pytest

from mmseg_balance.doctor import examine

CONFIGS = Path(mmseg.__file__).parent / '.mim' / 'configs'
KNOWN = {
    'unet/unet-s5-d16_fcn_4xb4-ce-1.0-dice-3.0-40k_drive-64x64.py': {'dice-pools-classes'},
    'cgnet/cgnet_fcn_4xb4-60k_cityscapes-680x680.py': {'class-weight-ignored'},
    'bisenetv2/bisenetv2_fcn_4xb4-ohem-160k_cityscapes-1024x1024.py': {
        'misspelt-keys',
        'batch-shapes',
    },
}
PIDNET = 'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py'
STOCK = [
    'ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
    'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py',
    'deeplabv3/deeplabv3_r50-d8_4xb2-80k_cityscapes-512x1024.py',
    'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-20k_voc12aug-512x512.py',
    'encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py',
    'fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py',
    'hrnet/fcn_hr18_4xb4-20k_voc12aug-512x512.py',
    'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py',
    'ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py',
    PIDNET,
    'point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py',
    'pspnet/pspnet_r50-d8_4xb4-80k_potsdam-512x512.py',
    'pspnet/pspnet_r50-d8_4xb4-80k_loveda-512x512.py',
    'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py',
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py',
    'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    'unet/unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128.py',
    *KNOWN,
]


@pytest.mark.parametrize('name', STOCK)
def test_nothing_but_advice(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where none of their data are
    found = examine(CONFIGS / name, progress=False).findings
    assert {one.check for one in found if one.severity != 'advice'} == KNOWN.get(name, set())
    assert any('is not on this machine' in one.message for one in found)


def test_there_are_twenty_without_a_known_finding():
    assert len(set(STOCK) - set(KNOWN)) >= 20


def test_a_pid_head_has_the_classes_of_the_data_set():
    """It was taken for a head of boundaries, as STDCHead is one."""
    options = {'model.decode_head.num_classes': 18}
    found = examine(CONFIGS / PIDNET, options, progress=False).findings
    assert any(one.check == 'num-classes' and 'names 19' in one.message for one in found)
