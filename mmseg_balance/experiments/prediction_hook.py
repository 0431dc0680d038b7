"""Keeps the predictions of a few test images, for the report's strips."""

from collections.abc import Sequence
from pathlib import Path

import mmengine
import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from PIL import Image


@HOOKS.register_module()
class PredictionHook(Hook):
    """Writes prediction and truth of chosen test images as single-channel PNG files.

    ``<number>_<name>.png`` is the prediction, ``<number>_<name>_truth.png`` the label map (with
    the data set's ignore index), and ``meta.json`` has class names, palette and image paths.

    Args:
        images: paths of the images, as the data set gives them.
        out_dir: folder of the files.
    """

    def __init__(self, images: Sequence[str], out_dir: str) -> None:
        self.names = {path: f'{i:02d}_{Path(path).stem}' for i, path in enumerate(images)}
        self.out_dir = Path(out_dir)

    def before_test(self, runner) -> None:
        self.out_dir.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            dataset = runner.test_dataloader.dataset
            meta = dataset.metainfo
            mmengine.dump(
                dict(
                    classes=list(meta['classes']),
                    palette=[list(map(int, c)) for c in meta.get('palette') or []],
                    ignore_index=int(getattr(dataset, 'ignore_index', 255)),
                    images={name: path for path, name in self.names.items()},
                ),
                self.out_dir / 'meta.json',
            )

    def after_test_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: Sequence | None = None
    ) -> None:
        for sample in outputs or ():
            name = self.names.get(sample.img_path)
            if name is not None:
                self._save(sample.pred_sem_seg.data, f'{name}.png')
                self._save(sample.gt_sem_seg.data, f'{name}_truth.png')

    def _save(self, labels, file_name: str) -> None:
        array = labels.squeeze(0).cpu().numpy().astype(np.uint8)
        Image.fromarray(array).save(self.out_dir / file_name)
