# DeepLabV3+ on EfficientNet-Lite0 with ImageNet weights, for a CPU:
# pip install "mmseg_balance[pretrained]". SyncBN needs a GPU; plain BN does not.
_base_ = 'mmseg::_base_/models/deeplabv3plus_r50-d8.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    # What the ImageNet weights were trained with: RGB, (x - 127) / 128.
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        output_stride=16,
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint='efficientnet-lite://lite0'),
    ),
    decode_head=dict(
        in_channels=320,
        channels=128,
        dilations=(1, 3, 6, 9),
        c1_in_channels=24,
        c1_channels=24,
        norm_cfg=norm_cfg,
    ),
    auxiliary_head=None,
)
