"""Count the classes of a config's training set once: table, file and picture."""

import argparse
import os
import sys
from pathlib import Path

from mmseg_balance.commands.options import add_address
from mmseg_balance.overrides import add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance class_stats``."""
    parser.add_argument('config', nargs='?', help='config whose train_dataloader.dataset is read')
    parser.add_argument(
        '--out', type=Path, help="file to write (default: where statistics='auto' looks)"
    )
    parser.add_argument('--plot', type=Path, help='picture of the class frequencies to write')
    parser.add_argument(
        '--merge',
        nargs='+',
        type=Path,
        metavar='FILE',
        help='join these files into --out instead of reading a data set',
    )
    parser.add_argument(
        '--split',
        type=float,
        metavar='SHARE',
        help='divide the images: this share for development, the classes evenly',
    )
    parser.add_argument(
        '--groups',
        metavar='REGEX',
        help='images whose names agree in what this '
        'finds (its first group, if it has one) stay together, such as a video',
    )
    parser.add_argument('--seed', type=int, help='of --split (default: 0)')
    parser.add_argument(
        '--split-folder',
        type=Path,
        help='where --split writes train.txt and dev.txt (default: splits)',
    )
    parser.add_argument('--again', action='store_true', help='count even if the file is up to date')
    parser.add_argument('--workers', type=int, help='processes (default: one per core)')
    parser.add_argument(
        '--engine',
        choices=('local', 'ray'),
        default='local',
        help='ray: the images are divided over all cores of a Ray cluster',
    )
    add_address(parser)
    add_cfg_options(parser)


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        ValueError: says which.
    """
    if bool(args.config) == bool(args.merge):
        raise ValueError('give either a config or --merge FILE FILE …')
    if args.merge and not args.out:
        raise ValueError('--merge needs --out')
    for option in ('split', 'again', 'workers', 'address', 'cfg_options'):
        value = getattr(args, option)
        if args.merge and value is not None and value is not False:
            raise ValueError(f'--{option.replace("_", "-")} needs a config')
    if args.merge and args.engine != 'local':
        raise ValueError(f'--engine {args.engine} needs a config')
    for option in ('groups', 'seed', 'split_folder'):
        if getattr(args, option) is not None and args.split is None:
            raise ValueError(f'--{option.replace("_", "-")} needs --split')
    if args.split is not None and not 0 < args.split < 1:
        raise ValueError(f'--split must be a share between 0 and 1, as 0.2, got {args.split}')
    if args.seed is not None and args.seed < 0:
        raise ValueError(f'--seed must not be negative, got {args.seed}')
    if args.plot and args.split is not None:
        raise ValueError('--plot draws the whole training set: leave out --split')
    if args.address and args.engine != 'ray':
        raise ValueError('--address is for --engine ray')
    if args.workers is not None and args.engine == 'ray':
        raise ValueError('--workers is for --engine local: ray takes all cores of its cluster')


def check_outputs(args: argparse.Namespace) -> None:
    """See that what is counted can be written.

    Raises:
        ValueError: says which file cannot.
    """
    from mmseg_balance.runtime.atomic_files import check_output
    from mmseg_balance.visualization.style import check_picture

    if args.out:
        check_output('--out', args.out, inputs={'config': args.config or ''})
    if args.plot:
        check_picture('--plot', args.plot)


def read(args: argparse.Namespace) -> tuple:
    """The config and its training set."""
    from mmseg_balance.runtime.config_files import override, read_config
    from mmseg_balance.statistics import build_training_set

    config = read_config(args.config)
    override(config, args.cfg_options)
    return config, build_training_set(config)


def count(args: argparse.Namespace):
    """Read the statistics if they are up to date, else count; None while shards are missing."""
    from mmseg_balance.statistics import ClassStatistics, LabelSource, statistics_path
    from mmseg_balance.statistics.shards import cores_of, scan_shard, shard_of

    config, dataset = read(args)
    source = LabelSource(dataset)
    path = args.out or statistics_path(source)
    if path.is_file() and not args.again:
        found = ClassStatistics.load(path)
        if found.fingerprint == source.fingerprint():
            print(f'{path} is up to date')
            return found
        print(f'{path} is of other labels or options: counting again')
    if args.engine == 'ray':
        from mmseg_balance.experiments.scan_on_ray import scan_on_ray

        return scan_on_ray(config, path, args.address)
    shard = shard_of(os.environ)
    workers = cores_of(os.environ) if args.workers is None else args.workers
    found = scan_shard(dataset, path, shard, workers, progress=shard[0] == 0)
    print(f'part {shard[0] + 1} of {shard[1]} is done' if found is None else f'wrote {path}')
    return found


def split(args: argparse.Namespace, found) -> None:
    """Divide the training set, write both lists, and print how each class was divided."""
    from mmseg_balance.statistics.stratified_split import (
        groups_of,
        image_names,
        one_sided_classes,
        presence_of,
        split_by_class,
        write_split,
    )

    names = image_names(read(args)[1])
    presence = presence_of(found)
    dev = split_by_class(presence, args.split, groups_of(names, args.groups), args.seed or 0)
    train_list, dev_list = write_split(names, dev, args.split_folder or Path('splits'))
    print(f'{train_list}: {(~dev).sum()} images, {dev_list}: {dev.sum()} images')
    for name, here, there in zip(
        found.class_names, presence[~dev].sum(0), presence[dev].sum(0), strict=True
    ):
        print(f'  {name:20s} {here:7d} {there:7d}')
    lacking = [found.class_names[c] for c in one_sided_classes(presence, dev)]
    if lacking:
        print(f'only on one side: {", ".join(lacking)} (too few groups have them)')


def run(args: argparse.Namespace) -> int:
    """Count or merge, print the table, draw the picture; 2 if an input is at fault."""
    from mmseg_balance.runtime.console import wide_console
    from mmseg_balance.runtime.launching import words_of
    from mmseg_balance.statistics import ClassStatistics
    from mmseg_balance.statistics.table import statistics_table
    from mmseg_balance.visualization.frequency import frequency_figure
    from mmseg_balance.visualization.style import save_figure

    try:
        check(args)
        check_outputs(args)
        if args.split is not None:
            found = count(args)
            if found is not None:
                split(args, found)
            return 0
        if args.merge:
            found = ClassStatistics.concatenate([ClassStatistics.load(path) for path in args.merge])
            print(f'wrote {found.save(args.out)}')
        else:
            found = count(args)
        if found is not None:
            wide_console().print(statistics_table(found))
            if args.plot:
                save_figure(frequency_figure([found]), str(args.plot))
    except Exception as error:
        said = words_of(error)
        if said is None:
            raise
        print(f'error: {said}', file=sys.stderr)
        return 2
    return 0
