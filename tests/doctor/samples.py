"""A healthy data set and config, and the ways to break them, each in one."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine import Config

from tools.bad_inputs import tiny_model

CLASSES = 4
SPLITS = {'train': 8, 'val': 4}


def write_data(root: Path, classes: int = CLASSES) -> None:
    """Noise images with blocks of every class, 48x32."""
    rng = np.random.default_rng(0)
    for split, images in SPLITS.items():
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True)
        for i in range(images):
            image = rng.integers(0, 256, (32, 48, 3), np.uint8)
            cv2.imwrite(str(root / 'images' / split / f'{i}.jpg'), image)
            blocks = rng.permutation(np.arange(24) % classes).reshape(4, 6)
            labels = np.kron(blocks, np.ones((8, 8))).astype(np.uint8)
            cv2.imwrite(str(root / 'labels' / split / f'{i}.png'), labels)


def relabel(
    root: Path, change: Callable[[np.ndarray], np.ndarray], split: str = '*', name: str = '*'
) -> None:
    for path in sorted(root.glob(f'labels/{split}/{name}.png')):
        cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def healthy_config(root: Path, work_dir: Path) -> Config:
    """A tiny FCN, three iterations: the doctor finds nothing in it."""

    def loader(split, sampler, **more):
        pipeline = [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            *more.pop('steps'),
        ]
        return dict(
            **more,
            num_workers=0,
            sampler=sampler,
            dataset=dict(
                type='BaseSegDataset',
                data_root=str(root),
                metainfo=dict(
                    classes=[f'class {i}' for i in range(CLASSES)],
                    palette=[[60 * i] * 3 for i in range(CLASSES)],
                ),
                data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}'),
                pipeline=pipeline,
            ),
        )

    crop = dict(type='RandomCrop', crop_size=(32, 32))
    pack = dict(type='PackSegInputs')
    return Config(
        dict(
            default_scope='mmseg',
            work_dir=str(work_dir),
            model=tiny_model(CLASSES, (32, 32)),
            train_dataloader=loader(
                'train',
                dict(type='InfiniteSampler', shuffle=True),
                batch_size=2,
                steps=[crop, pack],
            ),
            val_dataloader=loader(
                'val', dict(type='DefaultSampler', shuffle=False), batch_size=1, steps=[pack]
            ),
            val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            param_scheduler=[dict(type='PolyLR', eta_min=1e-4, begin=0, end=3, by_epoch=False)],
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
                logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
            ),
            randomness=dict(seed=0),
        )
    )


def save_config(config: Config, folder: Path) -> Path:
    """The config as a file of the user's."""
    path = folder / 'mine.py'
    config.dump(path)
    return path


@dataclass(frozen=True)
class Broken:
    """One way to break data or config, and the only check that may report something."""

    check: str
    spoil: Callable[[Path, Config], None]
    severity: str = 'error'
    message: str = ''  # regular expression
    name: str = ''
    beside: tuple[str, ...] = ()  # advice that such data get anyway

    def __str__(self) -> str:
        return self.name or self.check


def setting(key: str, value) -> Callable[[Path, Config], None]:
    return lambda root, config: config.merge_from_dict({key: value})


def loss(**arguments) -> Callable[[Path, Config], None]:
    def spoil(root, config):
        config.model.decode_head.loss_decode = dict(arguments)

    return spoil


def losses(*several: dict) -> Callable[[Path, Config], None]:
    def spoil(root, config):
        config.model.decode_head.loss_decode = [dict(one) for one in several]

    return spoil


def _datasets(config: Config) -> list:
    return [config[f'{split}_dataloader'].dataset for split in SPLITS]


def two_classes(root: Path, config: Config) -> None:
    """A binary task: labels 0 and 1."""
    for dataset in _datasets(config):
        dataset.metainfo = dict(classes=['background', 'vessel'], palette=[[0] * 3, [255] * 3])
    config.model.decode_head.num_classes = 2
    relabel(root, lambda labels: (labels == 1).astype(np.uint8))


def one_class(root, config):
    two_classes(root, config)
    for dataset in _datasets(config):
        dataset.metainfo = dict(classes=['vessel'], palette=[[255] * 3])
    relabel(root, np.zeros_like)


def ddr_head(**loss):
    def spoil(root, config):
        norm = dict(type='BN')
        same = dict(norm_cfg=norm, align_corners=False, channels=8)
        config.model.backbone = dict(type='DDRNet', in_channels=3, ppm_channels=8, **same)
        losses = [loss, dict(type='OhemCrossEntropy', min_kept=1)]
        config.model.decode_head = dict(
            type='DDRHead', in_channels=32, num_classes=CLASSES, loss_decode=losses, **same
        )
        relabel(root, lambda labels: np.where(np.arange(48) < 2, 255, labels).astype(np.uint8))

    return spoil


def masks_0_255(root, config):
    two_classes(root, config)
    relabel(root, lambda labels: 255 * labels)


def only_the_first_class_and_ignored(root, config):
    relabel(root, lambda labels: np.where(labels == 1, 255, 0).astype(np.uint8))


def zero_reduced(root, config):
    for dataset in _datasets(config):
        dataset.reduce_zero_label = True


def from_one(root, config):
    relabel(root, lambda labels: labels + 1)


def zero_reduced_once(root, config):
    config.val_dataloader.dataset.reduce_zero_label = True
    relabel(root, lambda labels: labels + 1, 'val')


def colours(root, config):
    relabel(root, lambda labels: np.stack([labels, 0 * labels, 80 * labels], -1), 'train')


def missing_label(root, config):
    (root / 'labels/train/3.png').unlink()


def truncated(kind, suffix):
    def spoil(root, config):
        path = root / kind / 'train' / f'3{suffix}'
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])

    return spoil


def no_images(root, config):
    config.train_dataloader.dataset.data_prefix.img_path = 'images/training'


def unknown_argument(root, config):
    config.train_dataloader.dataset.nonsense = 1


def other_size(root, config):
    path = root / 'labels/train/2.png'
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), np.kron(labels, np.ones((2, 2), np.uint8)))


def turned_by_exif(root, config):
    from PIL import Image

    path = root / 'images/train/2.jpg'
    with Image.open(path) as image:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    # 48x32 again as OpenCV reads it; the label map of another image is as the file is stored.
    path = root / 'images/train/5.jpg'
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)


def other_names(root, config):
    config.val_dataloader.dataset.metainfo.classes = [f'class {i}' for i in (1, 0, 2, 3)]


def never_labelled(root, config):
    for dataset in _datasets(config):
        dataset.metainfo = dict(
            classes=['a', 'b', 'c', 'd', 'tram'], palette=[[i] * 3 for i in range(5)]
        )
    config.model.decode_head.num_classes = 5


def unlabelled(share):
    def change(labels):
        labels = labels.copy()
        labels[:, : int(share * labels.shape[1])] = 255
        return labels

    return lambda root, config: relabel(root, change, 'train')


def all_ignored(root, config):
    relabel(root, lambda labels: np.full_like(labels, 255), 'train')


def one_unlabelled(root, config):
    path = root / 'labels/train/2.png'
    cv2.imwrite(str(path), np.full((32, 48), 255, np.uint8))


def not_in_training(root, config):
    relabel(root, lambda labels: np.where(labels == 3, 255, labels), 'train')


def not_in_validation(root, config):
    relabel(root, lambda labels: np.where(labels == 3, 255, labels), 'val')


def same_images(root, config):
    path = root / 'images/val/1.jpg'
    path.write_bytes((root / 'images/train/4.jpg').read_bytes())


def failing_step(root, config):
    config.train_dataloader.dataset.pipeline.insert(1, dict(type='Resize'))


def no_crop(root, config):
    config.train_dataloader.dataset.pipeline[2] = dict(
        type='RandomResize', scale=(96, 64), ratio_range=(0.5, 2.0), keep_ratio=True
    )


def annotations_first(root, config):
    config.val_dataloader.dataset.pipeline.insert(2, dict(type='Resize', scale=(24, 16)))


def one_channel(**loss_decode):
    def spoil(root, config):
        two_classes(root, config)
        config.model.decode_head.update(
            out_channels=1, threshold=0.5, loss_decode=dict(loss_decode)
        )

    return spoil


def one_channel_of_default_loss(root, config):
    one_channel()(root, config)
    config.model.decode_head.pop('loss_decode')


def no_threshold(root, config):
    one_channel(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)(root, config)
    config.model.decode_head.threshold = None


def one_class_of_two(root, config):
    no_threshold(root, config)
    config.model.decode_head.pop('out_channels')
    config.model.decode_head.num_classes = 1


def from_one_on_one_channel(root, config):
    one_class_of_two(root, config)
    config.model.decode_head.threshold = 0.5
    from_one(root, config)


def sixteen_bits(root, config):
    relabel(root, lambda labels: labels.astype(np.uint16) + 1000)


def batch_of_one(root, config):
    config.train_dataloader.batch_size = 1
    config.model.decode_head.update(
        type='ASPPHead', dilations=(1, 2), num_convs=None, _delete_num_convs=None
    )
    for name in ('num_convs', '_delete_num_convs'):
        config.model.decode_head.pop(name)


def last_batch_of_one(root, config):
    batch_of_one(root, config)
    for kind, suffix in (('images', 'jpg'), ('labels', 'png')):
        (root / kind / 'train' / f'7.{suffix}').unlink()
    config.train_dataloader.update(batch_size=3, sampler=dict(type='DefaultSampler', shuffle=True))


def balanced_batch_of_one(root, config):
    batch_of_one(root, config)
    config.custom_imports = dict(imports=['mmseg_balance'])
    loader = config.train_dataloader
    loader.batch_size = 2
    loader.batch_sampler = dict(type='BalanceBatchSampler', min_classes=2, fill=False)


def batch_size_in_the_batch_sampler(root, config):
    config.custom_imports = dict(imports=['mmseg_balance'])
    loader = config.train_dataloader
    loader.batch_sampler = dict(
        type='BalanceBatchSampler', min_classes=2, batch_size=loader.pop('batch_size')
    )


def auxiliary_head_of_the_wrong_map(root, config):
    config.model.auxiliary_head = [dict(config.model.decode_head, in_index=2)]


def mask_classification(root, config):
    config.model.decode_head = dict(
        type='MaskFormerHead',
        num_classes=CLASSES,
        loss_cls=dict(type='mmdet.CrossEntropyLoss', class_weight=[1.0] * CLASSES),
    )


def ohem_with(*losses_decode, thresh=None):
    def spoil(root, config):
        config.model.decode_head.update(
            loss_decode=[dict(one) for one in losses_decode],
            sampler=dict(type='OHEMPixelSampler', thresh=thresh, min_kept=100),
        )
        config.custom_imports = dict(imports=['mmseg_balance'], allow_failed_imports=False)

    return spoil


def float16(loss_decode: dict, **wrapper):
    def spoil(root, config):
        config.optim_wrapper.update(type='AmpOptimWrapper', **wrapper)
        config.model.decode_head.loss_decode = dict(loss_decode)

    return spoil


def ours(root, config):
    config.custom_imports = dict(imports=['mmseg_balance'], allow_failed_imports=False)


def image_sampler(kind, **more):
    def spoil(root, config):
        ours(root, config)
        config.train_dataloader.sampler = dict(type=kind, **more)

    return spoil


def batch_sampler(kind, **more):
    def spoil(root, config):
        ours(root, config)
        config.train_dataloader.batch_sampler = dict(type=kind, **more)

    return spoil


def hook(**arguments):
    def spoil(root, config):
        ours(root, config)
        config.custom_hooks = [dict(arguments)]

    return spoil


def none_ignored_by_ours(root, config):
    ours(root, config)
    config.model.decode_head.update(ignore_index=None, loss_decode=dict(type='SoftDiceLoss'))


def long_run(root, config):
    config.train_cfg.max_iters = config.param_scheduler[0].end = 20_000


def a_pixel(value, images=range(100)):
    """One pixel of class 3 in some training images; nowhere else."""

    def spoil(root, config):
        relabel(root, lambda labels: np.where(labels == 3, 0, labels))
        for split in SPLITS:
            for index, path in enumerate(sorted((root / 'labels' / split).iterdir())):
                if index in images or split == 'val':
                    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                    labels[value] = 3
                    cv2.imwrite(str(path), labels)

    return spoil


def with_metric(spoil):
    def both(root, config):
        spoil(root, config)
        ours(root, config)
        config.val_evaluator = [config.val_evaluator, dict(type='ImbalanceMetric')]

    return both


def seldom_drawn(root, config):
    with_metric(a_pixel((slice(0, 32), 0), images=[3]))(root, config)
    config.train_dataloader.dataset.pipeline[2] = dict(type='RandomFlip', prob=0.5)
    config.model.data_preprocessor.size = (32, 48)
    config.train_cfg.max_iters = config.param_scheduler[0].end = 200


def seldom_drawn_in_epochs(root, config, epochs=50):
    """The same 400 crops: 8 images in batches of 2."""
    seldom_drawn(root, config)
    config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
    config.default_hooks.checkpoint.by_epoch = True


def seldom_drawn_in_repeats(root, config):
    """Four epochs of 96 images, each of the 8 twelve times."""
    seldom_drawn_in_epochs(root, config, epochs=4)
    dataset = config.train_dataloader.dataset
    config.train_dataloader.dataset = dict(type='RepeatDataset', times=12, dataset=dataset)


def seldom_drawn_but_by(kind, **more):
    def change(root, config):
        seldom_drawn(root, config)
        config.train_dataloader.sampler = dict(type=kind, **more)

    return change


def scheduled_in_epochs(root, config):
    """A schedule that ends at iteration 1500 of 2000."""
    seldom_drawn_in_epochs(root, config, epochs=500)
    schedule = dict(type='linear', initial=1, final=0.5, end=1500)
    config.custom_hooks = [dict(type='LossScheduleHook', schedules=dict(loss_ce=schedule))]


def metric_ignoring_0(kind):
    def spoil(root, config):
        ours(root, config)
        config.val_evaluator = [config.val_evaluator, dict(type=kind, ignore_index=0)]

    return spoil


def metric_of_nonsense(root, config):
    ours(root, config)
    config.val_evaluator = dict(type='ImbalanceMetric', nonsense=1)


def tested(root, config):
    for part in ('dataloader', 'cfg', 'evaluator'):
        config[f'test_{part}'] = deepcopy(config[f'val_{part}'])


def unknown_metric_of_tests(root, config):
    tested(root, config)
    config.test_evaluator.type = 'Foo'


def metric_of_tests(root, config):
    config.test_dataloader = config.val_dataloader
    config.update(test_cfg=dict(), test_evaluator=dict(type='CalibrationMetric'))


def own_transform_of_tests(root, config):
    config.custom_imports = dict(imports=['no_such_package'])
    tested(root, config)
    config.test_dataloader.dataset.pipeline.insert(2, dict(type='OwnTransform'))


def broken_test_image(root, config):
    for kind in ('images', 'labels'):
        shutil.copytree(root / kind / 'val', root / kind / 'test')
    (root / 'images/test/0.jpg').write_bytes(b'no image')
    tested(root, config)
    config.test_dataloader.dataset.data_prefix = dict(
        img_path='images/test', seg_map_path='labels/test'
    )


def thin(root, config):
    """Lines of one pixel, which a quarter of the size loses."""

    def change(labels):
        labels = np.where(labels == 3, 0, labels)
        labels[1::8, 2:6] = 3
        return labels

    relabel(root, change)
    steps = config.train_dataloader.dataset.pipeline
    steps[2] = dict(type='Resize', scale=(12, 8))
    config.model.data_preprocessor.size = (8, 12)


def mostly_one_class(root, config):
    def change(labels):
        labels = np.zeros_like(labels)
        labels[:8, :8], labels[8:16, :8], labels[16:24, :8] = 1, 2, 3
        return labels

    relabel(root, change)
    config.train_dataloader.dataset.pipeline[2].cat_max_ratio = 0.75


def crop_counts_ignored(root, config):
    config.train_dataloader.dataset.pipeline[2].update(cat_max_ratio=0.75, ignore_index=0)


def ignored_and_default(root, config):
    unlabelled(0.2)(root, config)
    config.model.decode_head.loss_decode.avg_non_ignore = False


def sync_bn(root, config):
    config.model.backbone.norm_cfg.type = 'SyncBN'


RARE = ('rare-classes', 'what-to-try')
CE = dict(type='CrossEntropyLoss', avg_non_ignore=True)
SUM = dict(CE, reduction='sum')
WEIGHTS = [1.0, 2.0, 3.0, 4.0]
PAIR = dict(
    type='PairedLoss', losses=[dict(type='SoftDiceLoss'), dict(type='WeightedCrossEntropyLoss')]
)
SMOOTH = dict(type='linear', initial=1, final=0)

BROKEN = [
    # Labels and images
    Broken('dataset-builds', no_images, message='no image'),
    Broken('dataset-builds', unknown_argument, message='nonsense', name='dataset-argument'),
    Broken('files-missing', missing_label, message='no such label map'),
    Broken('files-unreadable', truncated('labels', '.png'), message='cannot be read'),
    Broken('label-colours', colours, message='colours'),
    Broken('label-range', from_one, message='4 .* is neither .* stops with an index error'),
    Broken(
        'label-range',
        from_one_on_one_channel,
        message='2 .* is neither .*. A head of one channel',
        name='label-range-of-one-channel',
    ),
    Broken(
        'label-range',
        sixteen_bits,
        message='it would be read as 235 .and 7 more.$',
        name='sixteen-bits',
    ),
    Broken('masks-0-255', masks_0_255, message="'vessel' is never trained"),
    Broken('reduce-zero-label', zero_reduced, message="'class 0' is lost"),
    Broken('zero-label-splits', zero_reduced_once, message='False in train_dataloader'),
    Broken('sizes-differ', other_size, message='96x64 pixels, and its image 48x32'),
    Broken(
        'sizes-differ', turned_by_exif, message='48x32 pixels, and its image 32x48', name='exif'
    ),
    Broken('class-names-agree', other_names, message="'class 0' and 'class 1'"),
    Broken('never-labelled', never_labelled, 'warning', 'tram'),
    Broken(
        'never-labelled',
        only_the_first_class_and_ignored,
        'warning',
        'class 1, class 2, class 3',
        name='two-values-of-many-classes',
    ),
    Broken('one-split-only', not_in_validation, 'warning', 'class 3: in the training labels'),
    Broken('unlabelled-share', unlabelled(0.7), 'warning', '69%'),
    Broken('unlabelled-share', all_ignored, message='every training pixel', name='all-ignored'),
    Broken('images-without-labels', one_unlabelled, 'warning', '1 of 8'),
    Broken('validation-is-training', same_images, 'warning', '4.jpg .1 of 4'),
    # Pipeline
    Broken('pipeline-runs', truncated('images', '.jpg'), message='the training pipeline fails'),
    Broken(
        'pipeline-runs',
        setting('train_dataloader.dataset.pipeline.2.crop_sise', 32),
        message='cannot be built: TypeError: .*crop_sise',
        name='pipeline-argument',
    ),
    Broken(
        'evaluation-pipelines',
        setting('val_dataloader.dataset.pipeline.2.meta_kees', ()),
        message='TypeError: .*meta_kees',
    ),
    Broken(
        'evaluation-pipelines', broken_test_image, message='fails on the first', name='test-image'
    ),
    Broken('batch-shapes', no_crop, message='cannot be stacked'),
    Broken('annotations-after-resize', annotations_first, message='before Resize'),
    # Heads
    Broken('num-classes', setting('model.decode_head.num_classes', 3), message='names 4 classes'),
    Broken('num-classes', one_class, message="one class, 'vessel'", name='one-class'),
    Broken('out-channels', setting('model.decode_head.out_channels', 3), message='refuses'),
    Broken('one-channel-loss', one_channel(**CE), message='softmax over one channel'),
    Broken(
        'one-channel-loss', one_channel(type='TverskyLoss'), message='constant', name='tversky-1'
    ),
    Broken(
        'one-channel-loss',
        one_channel_of_default_loss,
        message='softmax over one channel',
        name='default-loss-1',
    ),
    Broken('threshold', no_threshold, 'advice', '0.3'),
    Broken('threshold', one_class_of_two, 'advice', '0.3', name='threshold-of-one-class'),
    Broken('batch-of-one', batch_of_one, message='1x1'),
    Broken('batch-of-one', last_batch_of_one, message='last batch', name='last-batch-of-one'),
    Broken(
        'batch-of-one',
        balanced_batch_of_one,
        message='min_classes by itself',
        name='balanced-batch-of-one',
    ),
    Broken(
        'optimizer-builds',
        setting('optim_wrapper.optimizer.weigth_decay', 0.1),
        message="unexpected keyword argument 'weigth_decay'",
    ),
    Broken('optimizer-builds', setting('optim_wrapper.optimizer.lr', 'fast'), name='lr-a-text'),
    Broken(
        'optimizer-builds',
        setting('param_scheduler', [dict(type='PolyLR', end=3, by_epoch=False, powr=1)]),
        message='powr',
        name='schedule-argument',
    ),
    Broken('model-builds', setting('model.decode_head.kernel', 3), message='kernel'),
    Broken(
        'model-runs',
        setting('model.decode_head.in_channels', 16),
        message='takes in_index=-1 with in_channels=16, and is given 4 feature maps of 4, 8, 16, 32 ch',
    ),
    Broken(
        'model-runs',
        setting('model.decode_head.in_index', 7),
        message='IndexError: .* index out of range',
        name='in-index',
    ),
    Broken('model-runs', auxiliary_head_of_the_wrong_map, name='auxiliary-in-channels'),
    Broken(
        'model-runs',
        setting(
            'model.neck', dict(type='FPN', in_channels=[4, 8, 16, 8], out_channels=32, num_outs=4)
        ),
        message='fails here: RuntimeError',
        name='neck',
    ),
    # Losses
    Broken('class-weight-ignored', loss(**CE, class_weight=WEIGHTS), 'warning', 'IndexError'),
    Broken(
        'class-weight-length',
        loss(type='FocalLoss', class_weight=[1.0, 2.0, 3.0]),
        message='3 numbers for 4 classes',
    ),
    Broken('class-weight-length', mask_classification, message='no object', name='mask-weights'),
    Broken(
        'class-weight-sigmoid',
        loss(**CE, use_sigmoid=True, class_weight=WEIGHTS),
        message='pos_weight',
    ),
    Broken('dice-pools-classes', losses(CE, dict(type='DiceLoss')), 'warning', 'one Dice of all'),
    Broken('focal-softmax', loss(type='FocalLoss', use_sigmoid=False), message='AssertionError'),
    Broken('not-for-this-head', loss(type='OhemCrossEntropy'), message='TypeError'),
    Broken('sigmoid-of-classes', loss(**CE, use_sigmoid=True), 'advice', 'yes/no'),
    Broken('loss-not-optimised', loss(**CE, loss_name='ce'), message='leaves it out'),
    Broken('loss-name-shared', losses(CE, CE), 'warning', "named 'loss_ce'"),
    Broken('ohem', ohem_with(CE, dict(type='SoftDiceLoss')), message='SoftDiceLoss has none'),
    *(
        Broken('ohem', ohem_with(CE, one), message=f'{one["type"]} has none', name=one['type'])
        for one in (dict(type='CenterlineDiceLoss'), dict(type='RegionSizeLoss'), PAIR)
    ),
    Broken(
        'ohem',
        ohem_with(CE, dict(type='TverskyLoss'), thresh=0.7),
        'warning',
        'ignores the weights',
        name='ohem-tversky',
    ),
    Broken('float16-sum', float16(SUM), 'warning', 'overflow'),
    Broken(
        'float16-sum',
        float16(SUM, loss_scale=512.0),
        message='2048 pixels .* every step is skipped',
        name='float16-fixed-scale',
    ),
    # Ignored label
    Broken(
        'dataset-ignore-index',
        setting('model.decode_head.ignore_index', 0),
        message='class 0 is not',
    ),
    Broken('metric-ignore-index', setting('val_evaluator.ignore_index', 0), message='255'),
    *(
        Broken('metric-ignore-index', metric_ignoring_0(kind), message='255', name=kind)
        for kind in ('CalibrationMetric', 'ImbalanceMetric', 'BoundaryMetric')
    ),
    Broken('loss-ignore-index', loss(type='TverskyLoss', ignore_index=0), message='does not look'),
    Broken('padding', setting('model.data_preprocessor.seg_pad_val', 0), message='padding'),
    Broken('registered-names', ddr_head(type='NoSuchLoss'), name='unknown-loss-of-ddr'),
    Broken('unpassed-ignore-index', ddr_head(**CE), message='DDRHead calls it .* ignores -100'),
    Broken('no-ignore-index', setting('model.decode_head.ignore_index', None), message='TypeError'),
    Broken('no-ignore-index', none_ignored_by_ours, 'advice', 'padding', name='none-ignored'),
    # Samplers
    Broken('sampler-place', image_sampler('BalanceBatchSampler', min_classes=2), message='batches'),
    Broken('sampler-place', batch_sampler('ClassPerformanceSampler'), name='sampler-place-2'),
    Broken(
        'sampler-place',
        batch_size_in_the_batch_sampler,
        message="KeyError 'batch_size'",
        name='batch-size-in-the-batch-sampler',
    ),
    *(
        Broken('sampler-place', batch_sampler(kind), message=f'{kind} chooses', name=kind)
        for kind in ('RareClassSampler', 'RepeatFactorSampler')
    ),
    Broken(
        'sampler-without-reports',
        image_sampler('ClassPerformanceSampler'),
        'warning',
        'all classes',
    ),
    Broken('sampler-without-reports', hook(type='ClassPerformanceHook'), name='hook-alone'),
    Broken(
        'min-classes', batch_sampler('BalanceBatchSampler', min_classes=5), message='more than 4'
    ),
    Broken('draws-in-order', setting('train_dataloader.sampler.shuffle', False), 'warning'),
    # Schedule
    Broken('scheduler-length', setting('param_scheduler.0.end', 100), 'warning', '3% of its'),
    Broken('scheduler-by-epoch', setting('param_scheduler.0.by_epoch', True), message='epochs'),
    Broken('intervals', setting('train_cfg.val_interval', 5000), 'warning', 'never validated'),
    Broken(
        'intervals', setting('default_hooks.checkpoint.by_epoch', True), 'warning', name='by-epoch'
    ),
    Broken(
        'loss-schedule',
        hook(type='LossScheduleHook', schedules=dict(loss_dice=SMOOTH)),
        message="no loss is named 'loss_dice'",
    ),
    # Run
    Broken('misspelt-keys', setting('models', dict(pretrained=None)), 'warning', "Is it 'model'"),
    Broken('sync-bn', sync_bn, 'advice', 'plain batch norm'),
    Broken('custom-imports', setting('custom_imports', dict(imports=['no_such_package']))),
    Broken('custom-imports', own_transform_of_tests, name='own-transform'),
    Broken('plugin-imported', loss(type='SoftDiceLoss'), message='SoftDiceLoss: of mmseg_balance'),
    *(
        Broken('plugin-imported', spoil, message=f'{name}: of', name=name)
        for name, spoil in {
            'DecisionSegmentor': setting('model.type', 'DecisionSegmentor'),
            'EfficientNetLite': setting('model.backbone.type', 'EfficientNetLite'),
            'CalibrationMetric': metric_of_tests,
        }.items()
    ),
    Broken('registered-names', setting('val_evaluator.type', 'IoUMetrik'), message='IoUMetrik'),
    *(
        Broken('registered-names', setting(f'{key}.type', 'Foo'), message="'Foo' is not", name=key)
        for key in ('optim_wrapper.optimizer', 'visualizer', 'train_cfg', 'param_scheduler.0')
    ),
    Broken('registered-names', unknown_metric_of_tests, message="'Foo' is not", name='test-metric'),
    Broken('split-parts', setting('val_cfg', None), message='val_cfg: not set, and val_dataloader'),
    Broken(
        'loop-arguments',
        setting('train_cfg.type', 'EpochBasedTrainLoop'),
        message='it has no argument max_iters, and it needs max_epochs',
    ),
    Broken('loop-arguments', setting('val_cfg.fp61', True), message='fp61', name='val-loop'),
    Broken('persistent-workers', setting('train_dataloader.persistent_workers', True)),
    Broken(
        'persistent-workers',
        setting('train_dataloader.prefetch_factor', 2),
        message='2, and num_workers is 0',
        name='prefetch-factor',
    ),
    Broken('slide-mode', setting('model.test_cfg.mode', 'slid'), message="'slid'"),
    Broken(
        'slide-mode',
        setting('model.test_cfg', dict(mode='slide', crop_size=(32, 32))),
        message="None, and mode='slide' needs height and width",
        name='slide-without-stride',
    ),
    Broken('evaluators-build', setting('val_evaluator.iou_metrics', ['mFoo']), message="'mFoo'"),
    Broken('evaluators-build', metric_of_nonsense, message='TypeError', name='metric'),
    Broken('weights-missing', setting('load_from', 'nope.pth'), message='no such file'),
    Broken(
        'weights-missing',
        setting('model.backbone.init_cfg', dict(type='Pretrained', checkpoint='nope.pth')),
        name='init-cfg',
    ),
    Broken('seed', setting('randomness', dict(seed=None)), 'advice'),
    Broken('slow-resume', long_run, 'advice'),
    # Imbalance
    Broken('average-over-ignored', ignored_and_default, 'advice', '18.8%'),
    Broken('crop-ignore-index', crop_counts_ignored, 'warning', 'for a class'),
    Broken(
        'rare-classes',
        with_metric(a_pixel((slice(4), 20))),
        'advice',
        'class 3 .0.26% of pixels, 8',
        beside=('what-to-try',),
    ),
    Broken(
        'what-to-try',
        with_metric(a_pixel((slice(4), 20))),
        'advice',
        'SoftDiceLoss',
        beside=('rare-classes',),
    ),
    Broken('only-miou', a_pixel((slice(4), 20)), 'advice', 'IoUMetric alone', beside=RARE),
    Broken('lost-in-crops', with_metric(a_pixel((0, 47))), 'advice', 'class 3', beside=RARE),
    Broken('seen-in-training', seldom_drawn, 'warning', 'of 400 crops .* class 3 50', beside=RARE),
    Broken(
        'seen-in-training',
        seldom_drawn_in_epochs,
        'warning',
        'of 400 crops .* class 3 50',
        name='seen-in-epochs',
        beside=RARE,
    ),
    Broken(
        'seen-in-training',
        seldom_drawn_in_repeats,
        'warning',
        'of 384 crops .* class 3 48',
        name='seen-in-repeats',
        beside=RARE,
    ),
    Broken('thin-classes', thin, 'advice', 'class 3 100% of', beside=('lost-in-crops',)),
    Broken(
        'cat-max-ratio', mostly_one_class, 'advice', '100% of the images', beside=('lost-in-crops',)
    ),
]
