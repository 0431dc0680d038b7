"""The whole of a comparison: plan, runs, results.json, tables, report."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_balance.experiments.collection import collect
from mmseg_balance.experiments.engines import make_engine
from mmseg_balance.experiments.execution import Job, execute, make_jobs
from mmseg_balance.experiments.merging import prepare_base
from mmseg_balance.experiments.plan import Run, plan_runs
from mmseg_balance.experiments.progress import Progress
from mmseg_balance.experiments.recommendation import all_differences, check_choice, recommend
from mmseg_balance.experiments.report import write_report
from mmseg_balance.experiments.results import load_results, read_json, save_results
from mmseg_balance.experiments.strips import collect_strips, fixed_images
from mmseg_balance.experiments.tables import write_tables
from mmseg_balance.experiments.tuning import plan_trials, trial_results, tuned
from mmseg_balance.runtime.environment import environment
from mmseg_balance.runtime.processes import Launcher

CONFIGS = Path(__file__).parents[1] / '.mim' / 'configs'  # as OpenMMLab's packages ship them
INTERRUPTED = 130  # the shell's exit status after Ctrl-C


def main(args: argparse.Namespace, command: str) -> int:
    """Runs the comparison of parsed arguments; returns the exit status.

    0: all finished; 1: some runs failed; 130: stopped, to be gone on with by the same command.
    """
    if args.report_only:
        write_files(args.work_dir)
        return 0
    init_default_scope('mmseg')
    base = prepare_base(args.config, args.cfg_options, args.iters)
    roots = [Path(args.config).resolve().parent, CONFIGS]
    runs = plan_runs(args.losses, args.samplers, args.seeds, roots)
    train_set, test_set = (open_data(base, split) for split in ('train', 'test'))
    check_choice(args.choose_by, args.groups, test_set)
    images = fixed_images(test_set, args.images)

    def jobs_of(some: Sequence[Run]) -> list[Job]:
        return make_jobs(some, base, args.work_dir, images)

    jobs, trials = jobs_of(runs), jobs_of(plan_trials(runs, args.tune, args.tune_seed))
    check_dev(trials)
    launcher = Launcher(args.launcher, args.gpus)
    engine = make_engine(args.engine, args.jobs, args.gpus, args.address, args.work_dir)
    call = {
        'command': command,
        'base_hash': jobs[0].base_hash,
        'methods': list(dict.fromkeys(job.run.method for job in jobs)),
    }
    facts = {
        'verb': 'compare',
        'setting': {
            **setting(args.config, base, train_set, test_set),
            'choose_by': args.choose_by,
            'groups': args.groups,
            'tuned': args.tune,
        },
        'environment': environment(),
        'calls': calls_so_far(args.work_dir, call),
    }

    def publish(final: bool = False) -> None:
        save_results({**gather(args, facts['calls'], trials, final), **facts}, args.work_dir)
        write_files(args.work_dir)

    try:
        with Progress(len(trials) + len(jobs), slots=engine.slots) as progress:
            execute(trials, launcher, args.work_dir, progress, engine=engine)
            if trials:
                jobs = jobs_of(tuned(runs, trials, args.choose_by))
            execute(jobs, launcher, args.work_dir, progress, publish, engine)
    except KeyboardInterrupt:
        publish()
        print('stopped; the same command goes on from here')
        return INTERRUPTED
    publish(final=True)
    print(f'report: {args.work_dir / "report.html"}')
    return int(any(not job.finished for job in (*trials, *jobs)))


def check_dev(trials: Sequence[Job]) -> None:
    """Raise ValueError where trials could only be scored on test."""
    if any(trial.dev is None for trial in trials):
        raise ValueError(
            '--tune needs images to choose by: val_dataloader and test_dataloader have the same '
            'data set; give val_dataloader a split of its own.'
        )


def open_data(config: Config, split: str):
    """Builds a data set, so that a missing one is noticed before any training.

    Raises:
        ValueError: its files are not there, or there are none.
    """
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


def calls_so_far(work_dir: Path, call: dict) -> list[dict]:
    """The calls that the comparison grew by.

    Their methods in turn are the report's order, its first one what gains are measured against. A
    call that names all methods of an earlier one takes its place.
    """
    earlier = [
        other
        for other in read_json(work_dir / 'results.json', {}).get('calls', [])
        if other['base_hash'] == call['base_hash']
    ]
    replaced = [set(other['methods']) <= set(call['methods']) for other in earlier]
    calls = [other for other, gone in zip(earlier, replaced, strict=True) if not gone]
    calls.insert(replaced.index(True) if any(replaced) else len(calls), call)
    return calls


def gather(args: argparse.Namespace, calls: list[dict], trials: Sequence[Job], final: bool) -> dict:
    """The runs, their differences once all are there, and the pictures, for results.json."""
    order = list(dict.fromkeys(method for call in calls for method in call['methods']))
    results = collect(args.work_dir, calls[0]['base_hash'], order)
    results['trials'] = trial_results(trials)
    results['differences'] = all_differences(results, args.work_dir, args.groups) if final else []
    results['recommended'] = recommend(results, args.choose_by)
    return {**results, 'strips': collect_strips(results, args.work_dir, args.strips)}


def setting(path: str, base: Config, train_set, test_set) -> dict:
    """What all runs have in common, in words."""
    loop = base.train_cfg
    iterations = loop.get('max_iters')
    length = f'{iterations} iterations' if iterations else f'{loop.get("max_epochs")} epochs'
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


def write_files(work_dir: Path) -> None:
    """Tables and report from results.json alone (and the pictures that it names)."""
    results = load_results(work_dir)
    write_tables(results, work_dir)
    write_report(results, work_dir)
