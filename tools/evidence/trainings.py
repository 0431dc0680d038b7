"""Finished trainings, scored on dev, test and what else is wanted, in the folders of a comparison.

A training is the work dir of ``mmseg-balance train``. It is linked as ``train`` into the folder
that ``compare`` would have made, ``runs/METHOD/seedN``, and scored there by the code that scores
heads of a screening, so that ``collect`` and all that follows read it like any other run.
"""

import copy
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from mmseg_balance.experiments.collection import collect
from mmseg_balance.experiments.compare import setting
from mmseg_balance.experiments.merging import fingerprint
from mmseg_balance.experiments.recommendation import all_differences, recommend
from mmseg_balance.experiments.results import read_json, save_results
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen.decisions import ARGMAX
from mmseg_balance.experiments.screen.evaluation import Scorer, score_heads
from mmseg_balance.experiments.screen.frozen import load_frozen, make_head
from mmseg_balance.experiments.training_log import cost, curves, read_scalars
from mmseg_balance.runtime.cpu import fit_to_cpu
from mmseg_balance.runtime.environment import environment
from tools.evidence.earlier import join

TRAINED_ALIKE = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
POINTS = 0.05  # that dev's mIoU may differ from the training's log


@dataclass(frozen=True)
class Training:
    """A finished training.

    Args:
        method: Name in the tables.
        folder: Its work dir.
        config: As it was trained with, dumped there by MMEngine.
        checkpoint: The last one.
    """

    method: str
    folder: Path
    config: Config
    checkpoint: Path

    @property
    def seed(self) -> int:
        return self.config.randomness.seed

    @property
    def run_folder(self) -> Path:
        return Path('runs', self.method.lower().replace(' ', ''), f'seed{self.seed}')

    @property
    def recipe(self) -> str:
        return f'configs/{Path(self.config.filename).name}'

    def sha256(self) -> str:
        return hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()

    def commits(self) -> list[str]:
        """Of the code; who starts trainings leaves ``commit=HASH`` in a log of the work dir."""
        logs = sorted(self.folder.glob('*.log'))
        found = [re.findall(r'commit=([0-9a-f]{7,40})', _head(log)) for log in logs]
        return sorted({commit[:7] for of_log in found for commit in of_log})


def find_trainings(wanted: Sequence[str], say: Callable[[str], None] = print) -> list[Training]:
    """The finished trainings of ``METHOD=FOLDER``, a work dir or a folder with one for each seed.

    Those that are not at their last iteration are named and left out.

    Raises:
        ValueError: no such folder, no or several configs in it, trainings that differ in more than
            loss, sampler and seed, one seed twice.
    """
    found: list[Training] = []
    for text in wanted:
        method, equals, folder = text.partition('=')
        if not (method and equals and Path(folder).is_dir()):
            raise ValueError(f'{text}: not METHOD=FOLDER with a folder that there is.')
        for work_dir in _work_dirs(Path(folder)):
            training = _read(method, work_dir)
            if training is None:
                say(f'left out: {work_dir} has no config, so no training began')
                continue
            end = training.config.train_cfg.max_iters
            if training.checkpoint.name == f'iter_{end}.pth':
                found.append(training)
            else:
                say(f'left out: {work_dir} is not at iteration {end}')
    if not found:
        raise ValueError('none of these trainings is finished.')
    _check(found)
    return found


def _work_dirs(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob('seed*') if p.is_dir()) or [folder]


def _read(method: str, folder: Path) -> Training | None:
    configs = sorted(folder.glob('*.py'))
    if not configs:
        return None
    if len(configs) > 1:
        raise ValueError(
            f'{folder} has {len(configs)} configs; a training leaves one, which says how it was '
            'trained: give the work dir of a single training.'
        )
    named = folder / 'last_checkpoint'
    name = Path(named.read_text().strip()).name if named.is_file() else 'none'
    return Training(method, folder.resolve(), Config.fromfile(str(configs[0])), folder / name)


def _check(trainings: Sequence[Training]) -> None:
    seen: dict[Path, Training] = {}
    for training in trainings:
        if 'seed' not in training.config.get('randomness', {}):
            raise ValueError(
                f'{training.folder}: its config has no randomness.seed, so nothing to pair it by.'
            )
        other = seen.setdefault(training.run_folder, training)
        if other is not training:
            raise ValueError(f'{training.folder} and {other.folder}: one method and seed twice.')
        ours, first = (trained_by(t.config) for t in (training, trainings[0]))
        different = [key for key in TRAINED_ALIKE if ours.get(key) != first.get(key)]
        if different:
            raise ValueError(
                f'{training.folder} and {trainings[0].folder} differ in {", ".join(different)}, '
                'beyond loss, sampler and seed; publish them under two names.'
            )


def trained_by(config: Config) -> dict:
    """What compared trainings must have in common."""
    common = {key: copy.deepcopy(config.get(key)) for key in TRAINED_ALIKE}
    head = common['model']['decode_head']
    for part in head if isinstance(head, list) else [head]:
        part.pop('loss_decode', None)
    for key in ('sampler', 'batch_sampler', 'num_workers', 'persistent_workers', 'prefetch_factor'):
        common['train_dataloader'].pop(key, None)
    return common


def score(
    training: Training,
    work_dir: Path,
    on_images: Callable[[str, int, int], None],
    also: Sequence[str] = (),
) -> None:
    """Score a training on dev and test, unless this very checkpoint has been.

    Args:
        training: To score.
        work_dir: Of the comparison.
        on_images: Called with the split, the images done and all of them.
        also: Other splits of the test data set.

    Raises:
        ValueError: mIoU on dev is not what the training logged.
    """
    folder = RunFolder(work_dir / training.run_folder)
    sha256 = training.sha256()
    digest = f'{fingerprint(training.config)}{sha256[:12]}'
    scored, wanted = folder.state.get('scored', {}), _splits(training.config, also)
    if folder.is_finished(digest) and all(scored.get(split) == digest for split in wanted):
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.train_dir.unlink(missing_ok=True)
    folder.train_dir.symlink_to(training.folder)
    # What was scored before took its time then.
    before = folder.state['seconds']['test'] if folder.is_finished(digest) else 0.0
    started = time.monotonic()
    _score_splits(training, folder, digest, on_images, also)
    rows = read_scalars(training.folder)
    iterations = training.config.train_cfg.max_iters
    each = cost(rows)['seconds_per_iteration']
    folder.update_state(
        method=training.method,
        loss=training.method.split(' + ')[0],
        sampler=(training.method.split(' + ')[1:] or ['config'])[0],
        seed=training.seed,
        hash=digest,
        base_hash='trainings',
        iterations=iterations,
        error='',
        seconds={
            'train': None if each is None else each * iterations,
            'test': before + time.monotonic() - started,
        },
        recipe=training.recipe,
        sha256=sha256,
        commits=training.commits(),
    )
    _check_log(folder, rows)
    folder.finish(digest)


def _score_splits(
    training: Training,
    folder: RunFolder,
    digest: str,
    on_images: Callable[[str, int, int], None],
    also: Sequence[str],
) -> None:
    scored = folder.state.get('scored', {})
    config = Config(copy.deepcopy(training.config._cfg_dict))
    if not torch.cuda.is_available():
        fit_to_cpu(config)
    segmentor, weights = load_frozen(config, str(training.checkpoint))
    head = make_head(segmentor, config.model.decode_head, weights, str(training.checkpoint))
    head.to(next(segmentor.parameters()).device)
    for split, (settings, evaluator) in _splits(config, also).items():
        if scored.get(split) == digest:
            continue
        settings = {**settings, 'num_workers': 0, 'persistent_workers': False}
        settings.pop('prefetch_factor', None)
        loader = Runner.build_dataloader(settings, seed=0)
        scorer = Scorer(folder, split, [ARGMAX], evaluator, loader.dataset.metainfo)
        images = len(loader.dataset)

        def told(done: int, split: str = split, images: int = images) -> None:
            on_images(split, done, images)

        score_heads(segmentor, {'head': head}, {'head': scorer}, loader, told)
        scored[split] = digest
        folder.update_state(scored=scored)


def _splits(config: Config, also: Sequence[str] = ()) -> dict[str, tuple[dict, dict]]:
    """Data loader and evaluator of each split; dev is left out where it is test."""
    test = (config.test_dataloader, config.get('test_evaluator'))
    found = {'dev': (config.val_dataloader, config.get('val_evaluator')), 'test': test}
    if config.val_dataloader.dataset == config.test_dataloader.dataset:
        del found['dev']
    for split in also:
        dataset = {**config.test_dataloader.dataset, 'split': split}
        found[split] = (ConfigDict({**config.test_dataloader, 'dataset': dataset}), test[1])
    return found


def _check_log(folder: RunFolder, rows: list[dict]) -> None:
    """The log has the same number, from MMSegmentation's own metric, at the end of the training."""
    logged = curves(rows).get('mIoU')
    scored = folder.scores('dev') / 'imbalance.json'
    if not logged or not scored.is_file():
        return
    found = read_json(scored)['scores']['mIoU']
    if found is None:  # NaN is not JSON
        return
    found *= 100
    if abs(found - logged[-1][1]) > POINTS:
        raise ValueError(
            f'{folder.path}: {found:.2f} mIoU on dev, and the log of the training has '
            f'{logged[-1][1]:.2f}: other data or other code.'
        )


def gather(
    trainings: Sequence[Training],
    work_dir: Path,
    command: str,
    choose_by: str,
    groups: str,
    published: Path | None = None,
) -> dict:
    """Write results.json of the scored trainings, with the runs of ``published`` where given.

    The first method is the baseline.
    """
    methods = list(dict.fromkeys(training.method for training in trainings))
    config = trainings[0].config
    data = {
        kind: Runner.build_dataloader(
            {**config[f'{kind}_dataloader'], 'num_workers': 0, 'persistent_workers': False}
        ).dataset
        for kind in ('train', 'val', 'test')
    }
    results = collect(work_dir, 'trainings', methods)
    results |= {
        'verb': 'train',
        'setting': {
            **setting(trainings[0].recipe, config, data['train'], data['test']),
            'dev_images': len(data['val']),
            'dev_is_test': 'dev' not in _splits(config),
            'decisions': [ARGMAX],
            'choose_by': choose_by,
            'groups': groups,
            'tuned': 0,
        },
        'environment': environment(),
        'calls': [{'command': command, 'base_hash': 'trainings', 'methods': methods}],
        'trials': [],
    }
    if published is not None:
        results = join(results, published, work_dir)
    results['differences'] = all_differences(results, work_dir, groups)
    several = len({run['method'] for run in results['runs']}) > 1
    results['recommended'] = recommend(results, choose_by) if several else None
    save_results(results, work_dir)
    return results


def _head(log: Path, size: int = 65536) -> str:
    with log.open('rb') as file:
        return file.read(size).decode(errors='replace')
