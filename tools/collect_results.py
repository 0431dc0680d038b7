"""Keep the results of finished runs in docs/results/NAME.json, per-image confusion matrices beside.

    python -m tools.collect_results screen_camvid --work-dir work_dirs/screen/CONFIG
    python -m tools.collect_results t1_camvid --trainings ce=work_dirs/ce recall=work_dirs/recall …

The first keeps a finished ``screen`` or ``compare``. The second scores finished trainings on dev
and test before, first method the baseline; a FOLDER is a work dir or has one in ``seed0``, ``seed1``
and so on. What has been scored is not scored again; ``--add`` leaves the runs that NAME.json has
and adds to them. ``make results`` then makes the pages.
"""

import argparse
import shlex
import sys
from pathlib import Path

from mmengine.registry import init_default_scope
from rich.progress import Progress

import mmseg_balance  # noqa: F401  registers what configs name
from mmseg_balance.experiments.screen.frozen import ScreeningError
from tools.evidence.publishing import publish
from tools.evidence.trainings import Training, find_trainings, gather, score

OUT = Path(__file__).parents[1] / 'docs' / 'results'


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        if args.trainings:
            args.work_dir = args.work_dir or Path('work_dirs', 'trainings', args.name)
            command = command_of(args)
            init_default_scope('mmseg')
            trainings = find_trainings(args.trainings)
            score_all(trainings, args.work_dir, args.also)
            published = args.out / f'{args.name}.json' if args.add else None
            gather(trainings, args.work_dir, command, args.choose_by, args.groups, published)
        shown = dict(pair.split('=', 1) for pair in args.show_as)
        path = publish(
            args.work_dir,
            args.name,
            args.out,
            title=args.title,
            note=args.note,
            commit=args.commit,
            show_as=shown,
        )
    except (ValueError, OSError, ScreeningError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{path}; now: make results')
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', help='of the file, and of the block in the pages')
    parser.add_argument(
        '--work-dir', type=Path, help='of a screening or comparison; of trainings: where scores go'
    )
    parser.add_argument('--trainings', nargs='+', metavar='METHOD=FOLDER', default=[])
    parser.add_argument(
        '--add',
        action='store_true',
        help='keep the published runs that are not among --trainings: more seeds, without their '
        'checkpoints',
    )
    parser.add_argument('--title', default='', help='heading of the tables')
    parser.add_argument('--note', default='', help='what a reader must know besides')
    parser.add_argument('--commit', default='', help='of the code, where the runs do not say')
    parser.add_argument('--groups', default='images', help='as in compare; of trainings only')
    parser.add_argument(
        '--also',
        nargs='+',
        metavar='SPLIT',
        default=[],
        help='score trainings on these splits of the test data set too: official_val',
    )
    parser.add_argument('--choose-by', default='mIoU', help='as in compare; of trainings only')
    parser.add_argument('--show-as', nargs='+', default=[], metavar='FOLDER=NAME')
    parser.add_argument('--out', type=Path, default=OUT)
    args = parser.parse_args(argv)
    if not (args.trainings or args.work_dir):
        parser.error('give --work-dir of a screening or comparison, or --trainings')
    if args.add and not args.trainings:
        parser.error('--add goes with --trainings; a screening grows in its own --work-dir')
    return args


def command_of(args: argparse.Namespace) -> str:
    """The command that the scores are from, without what only words the pages."""
    start = ['python', '-m', 'tools.collect_results', args.name, '--groups', args.groups]
    also = ['--also', *args.also] if args.also else []
    add = ['--add'] if args.add else []
    return shlex.join(
        [*start, '--choose-by', args.choose_by, *also, *add, '--trainings', *args.trainings]
    )


def score_all(trainings: list[Training], work_dir: Path, also: list[str]) -> None:
    with Progress() as progress:
        whole = progress.add_task('trainings', total=len(trainings))
        for training in trainings:
            name = f'{training.method}, seed {training.seed}'
            task = progress.add_task(name, total=None)

            def told(split: str, done: int, images: int, task=task, name=name) -> None:
                progress.update(task, completed=done, total=images, description=f'{name}, {split}')

            score(training, work_dir, told, also)
            progress.remove_task(task)
            progress.advance(whole)


if __name__ == '__main__':
    sys.exit(main())
