"""Makes folders like those that finished runs leave, with invented numbers."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_balance.experiments.collection import collect
from mmseg_balance.experiments.recommendation import all_differences, recommend
from mmseg_balance.experiments.results import load_results, save_results, write_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.strips import collect_strips
from mmseg_balance.functional.confusion import confusion_scores, frequency_groups, group_means
from mmseg_balance.metrics.confusion_file import save_confusions

SETTING = dict(
    config='configs/<b>.py',
    length='40 iterations of 4 images per process',
    train_images=12,
    test_images=4,
    data='CamVid',
)


def write_run(
    work_dir: Path,
    method: str,
    seed: int,
    num_classes: int = 3,
    bins: int = 10,
    lost_class: int | None = None,
) -> RunFolder:
    """A finished run whose numbers follow from its method and seed."""
    rng = np.random.default_rng([seed, *method.encode()])
    folder = RunFolder(work_dir / 'runs' / method.lower().replace(' ', '') / f'seed{seed}')
    pixels = (10.0 ** np.linspace(6, 2, num_classes)).astype(int)
    confusion = np.stack(
        [
            rng.multinomial(n, rng.dirichlet(np.eye(num_classes)[c] * 8 + 0.3))
            for c, n in enumerate(pixels)
        ]
    )
    if lost_class is not None:
        confusion[lost_class, 0] += confusion[lost_class, lost_class]
        confusion[lost_class, lost_class] = 0
    count = rng.integers(100, 1000, (num_classes, bins))
    share = (np.arange(bins) + 0.5) / bins
    classes = [f'class {c} <i>' for c in range(num_classes)]
    folder.path.mkdir(parents=True)
    scores = confusion_scores(confusion)
    per_class = {name: scores.pop(name).tolist() for name in ('IoU', 'recall', 'precision', 'F1')}
    groups = frequency_groups(confusion.sum(1))
    means = group_means(np.array(per_class['IoU']), groups)
    scores.update({f'mIoU_{name}': value for name, value in means.items()})
    scored = folder.scores('test')
    scored.mkdir(parents=True)
    save_confusions(
        scored / 'confusions.npz',
        np.stack([confusion // 2, confusion - confusion // 2]),
        ['0.png', '1.png'],
        classes,
    )
    _write(
        scored / 'imbalance.json',
        dict(
            classes=classes,
            confusion=confusion.tolist(),
            scores=scores,
            per_class=per_class,
            groups=groups,
        ),
    )
    _write(
        scored / 'calibration.json',
        dict(
            scores=dict(cal=rng.uniform(0.5, 0.9), ECE=0.1, S_acc=0.6, S_rec=0.5),
            bins=dict(
                count=count.tolist(),
                positive=(count * share**2).astype(int).tolist(),
                confidence=(count * share).tolist(),
            ),
        ),
    )
    write_scalars(folder.train_dir / '20260101_000000', range(4, 41, 4))
    write_predictions(folder.path / 'predictions', classes, rng)
    folder.update_state(
        method=method,
        loss=method.split(' + ')[0],
        sampler='config',
        seed=seed,
        hash='h',
        base_hash='b',
        iterations=40,
        error='',
        trained=True,
        seconds=dict(train=61.0 + seed, test=3.0),
        commands=dict(train='python train.py <x>'),
    )
    folder.finish('h')
    return folder


def write_scalars(folder: Path, steps) -> None:
    path = folder / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    rows = [
        {'loss': 2 / step, 'decode.acc_seg': 50.0 + step, 'lr': 0.1, 'time': 0.2, 'step': step}
        for step in steps
    ]
    rows += [{'mIoU': 30.0 + step, 'step': step} for step in steps if step % 20 == 0]
    path.write_text('\n'.join(map(json.dumps, rows)) + '\n{"loss": 1.2, "st')


def write_predictions(folder: Path, classes: list[str], rng: np.random.Generator) -> None:
    folder.mkdir()
    truth = np.repeat([[0, 1, len(classes) - 1, 255]], 6, axis=0).astype(np.uint8)
    data = folder.parents[3] / 'data'  # the same images for every run
    data.mkdir(exist_ok=True)
    names = {f'{i:02d}_image{i}': str(data / f'image{i}.jpg') for i in range(3)}
    for i, (name, source) in enumerate(names.items()):
        guess = np.where(rng.random(truth.shape) < 0.3 * i, 0, truth % 255).astype(np.uint8)
        Image.fromarray(guess).save(folder / f'{name}.png')
        Image.fromarray(truth).save(folder / f'{name}_truth.png')
        Image.fromarray(np.full((6, 4, 3), 90, np.uint8)).save(source)
    palette = [[40 * c % 256, 90, 200] for c in range(len(classes))]
    _write(
        folder / 'meta.json', dict(classes=classes, palette=palette, ignore_index=255, images=names)
    )


def write_results(work_dir: Path, order=()) -> dict:
    """results.json of all runs in ``work_dir``, as the command writes it."""
    results = collect(work_dir, 'b', order)
    results['differences'] = all_differences(results, work_dir, 'images', resamples=20)
    results['recommended'] = recommend(results, 'mIoU')
    save_results(
        {
            **results,
            'strips': collect_strips(results, work_dir, 2),
            'setting': SETTING,
            'environment': dict(machine='a 2-core CPU', torch='2.13', date='2026-01-01'),
            'calls': [dict(command='mmseg-balance compare <c>.py')],
        },
        work_dir,
    )
    return load_results(work_dir)


def _write(path: Path, content: dict) -> None:
    write_json(path, content)
