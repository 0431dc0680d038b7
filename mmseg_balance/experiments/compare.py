"""The whole of a comparison: plan, runs, results.json, tables, report."""

import argparse
import os
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_balance.experiments.engines import make_engine
from mmseg_balance.experiments.execution import Job, execute, make_jobs
from mmseg_balance.experiments.merging import prepare_base
from mmseg_balance.experiments.plan import Run, plan_runs
from mmseg_balance.experiments.progress import Progress, number_of
from mmseg_balance.experiments.publication import announce, calls_so_far, choices, publish, run_verb
from mmseg_balance.experiments.recommendation import check_choice
from mmseg_balance.experiments.strips import fixed_images
from mmseg_balance.experiments.tuning import plan_trials, trial_results, tuned
from mmseg_balance.runtime.environment import environment
from mmseg_balance.runtime.processes import Launcher

CONFIGS = Path(__file__).parents[1] / '.mim' / 'configs'  # as OpenMMLab's packages ship them


def run(args: argparse.Namespace) -> int:
    """Run the comparison of parsed arguments; returns the exit status.

    0: all finished; 1: some runs failed; 2: refused; 130: stopped, the same command goes on.
    """
    return run_verb(args, 'compare', partial(_compare, args))


def _compare(args: argparse.Namespace) -> int:
    chosen = choices(args)
    init_default_scope('mmseg')
    base = prepare_base(args.config, args.cfg_options, args.iters)
    runs = plan_runs(args.losses, args.samplers, args.seeds, config_roots(args.config))
    train_set, test_set = (open_data(base, split) for split in ('train', 'test'))
    check_choice(chosen['choose_by'], chosen['groups'], test_set)
    dev_set = open_data(base, 'val') if base.get('val_dataloader') else test_set
    overlap = dev_in_test(dev_set, test_set)
    images = fixed_images(test_set, args.images)

    def jobs_of(some: Sequence[Run]) -> list[Job]:
        return make_jobs(some, base, args.work_dir, images, dev=not overlap['dev_is_test'])

    jobs, trials = jobs_of(runs), jobs_of(plan_trials(runs, args.tune, args.tune_seed))
    check_dev(trials)
    launcher = Launcher(args.launcher, args.gpus)
    engine = make_engine(args.engine, args.jobs, args.gpus, args.address, args.work_dir)
    call = {
        'command': shlex.join(['mmseg-balance', *args.argv]),
        'base_hash': jobs[0].base_hash,
        'methods': list(dict.fromkeys(job.run.method for job in jobs)),
    }
    facts = {
        'verb': 'compare',
        'setting': {
            **setting(args.config, base, train_set, test_set),
            **chosen,
            **overlap,
            'tuned': args.tune,
        },
        'environment': environment(),
        'calls': calls_so_far(args.work_dir, call),
    }

    def report(final: bool = False) -> None:
        publish(args.work_dir, facts, trial_results(trials, chosen['choose_by']), final)

    try:
        with Progress(len(trials) + len(jobs), slots=engine.slots) as progress:
            execute(trials, launcher, args.work_dir, progress, engine=engine)
            if trials:
                jobs = jobs_of(tuned(runs, trials, chosen['choose_by']))
            execute(jobs, launcher, args.work_dir, progress, report, engine)
    except KeyboardInterrupt:
        report()
        raise
    report(final=True)
    announce(args.work_dir)
    return int(any(not job.finished for job in (*trials, *jobs)))


def config_roots(config: str) -> list[Path]:
    """Folders that may hold ``_base_/losses``: of the config, of the package."""
    return [Path(config).resolve().parent, CONFIGS]


def check_dev(trials: Sequence[Job]) -> None:
    """Raise ValueError where trials could only be scored on test."""
    if any(trial.dev is None for trial in trials):
        raise ValueError(
            '--tune needs images to choose by: val_dataloader and test_dataloader have the same '
            'images; give val_dataloader a split of its own.'
        )


def open_data(config: Config, split: str):
    """Builds a data set, so that a missing one is noticed before any training.

    Raises:
        ValueError: the config has none, or its files are not there.
    """
    if not config.get(f'{split}_dataloader'):
        raise ValueError(f'{config.filename} has no {split}_dataloader; give it one.')
    try:
        dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
    except FileNotFoundError as error:
        raise ValueError(
            f'{split}_dataloader.dataset: {error.filename or error} does not exist; put the data '
            'set there, or set data_root to where it is.'
        ) from error
    if not len(dataset):
        raise ValueError(
            f'{split}_dataloader.dataset has no image; check data_root, data_prefix and the suffixes of its files.'
        )
    return dataset


def dev_in_test(dev_set, test_set) -> dict:
    """How many images of dev are images of test too, and whether the two are the same images."""
    dev, test = (
        {os.path.abspath(data.get_data_info(i)['img_path']) for i in range(len(data))}
        for data in (dev_set, test_set)
    )
    return {'dev_is_test': dev == test, 'dev_images_in_test': len(dev & test)}


def setting(path: str, base: Config, train_set, test_set) -> dict:
    """What all runs have in common, in words."""
    loop = base.train_cfg
    iterations = loop.get('max_iters')
    length = (
        number_of(iterations, 'iteration')
        if iterations
        else number_of(loop.get('max_epochs'), 'epoch')
    )
    batch = base.train_dataloader.get('batch_size', '?')
    return {
        'config': path,
        'length': f'{length} of {batch} images per process',
        'train_images': len(train_set),
        'test_images': len(test_set),
        'data': data_name(test_set),
    }


def data_name(dataset) -> str:
    """Name of a data set: its class's, or for MMSegmentation's general one its folder's."""
    name = type(dataset).__name__
    if name == 'BaseSegDataset' and getattr(dataset, 'data_root', None):
        return Path(dataset.data_root).name
    return name.removesuffix('Dataset')
