"""The whole of a screening: check, plan, tune, train heads, score, recommend, report."""

import argparse
import hashlib
import shlex
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_balance.experiments.compare import config_roots, dev_in_test, open_data, setting
from mmseg_balance.experiments.engines import make_engine
from mmseg_balance.experiments.merging import fingerprint, prepare_base, shorten
from mmseg_balance.experiments.plan import AS_CONFIGURED, CHECKPOINT, Ingredient, Run, plan_runs
from mmseg_balance.experiments.progress import number_of
from mmseg_balance.experiments.publication import announce, calls_so_far, choices, publish, run_verb
from mmseg_balance.experiments.recommendation import check_choice
from mmseg_balance.experiments.screen.decisions import find_decisions
from mmseg_balance.experiments.screen.frozen import load_frozen, make_head
from mmseg_balance.experiments.screen.jobs import HeadJob, make_jobs
from mmseg_balance.experiments.screen.keep import check_kept, keep_head
from mmseg_balance.experiments.screen.passes import Passes
from mmseg_balance.experiments.screen.plan import HeadRun
from mmseg_balance.experiments.screen.progress import ScreenProgress
from mmseg_balance.experiments.strips import fixed_images
from mmseg_balance.experiments.tuning import plan_trials, trial_results, tuned
from mmseg_balance.runtime.environment import environment
from mmseg_balance.runtime.launching import use_mixed_precision
from mmseg_balance.runtime.processes import Launcher

ALL = 'all'  # every loss file
SHARE_OF_TRAINING = 0.1
HEADS = 16  # in a process, unless --heads says otherwise


def run(args: argparse.Namespace) -> int:
    """Screen as the parsed arguments say; returns the exit status.

    0: all finished; 1: some heads failed; 2: refused; 130: stopped, the same command goes on.
    """
    if args.heads is None:
        args.heads = HEADS
    return run_verb(args, 'screen', lambda: Screening(args).run())


class Screening:
    """A screening with everything that is known before it starts.

    Args:
        args: Parsed options of ``mmseg_balance.commands.screen``.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.choices = choices(args)
        init_default_scope('mmseg')
        self.engine = make_engine(args.engine, args.jobs, args.gpus, args.address, args.work_dir)
        self.base = screened_config(args)
        self.decisions = find_decisions(args.decisions)
        roots = config_roots(args.config)
        losses = every_loss(roots) if args.losses == [ALL] else args.losses
        self.runs = plan_runs(losses, args.samplers, args.seeds, roots)
        if args.keep:
            check_kept(*args.keep, [run.method for run in self.runs], args.checkpoint)
        self.data = {split: open_data(self.base, split) for split in ('train', 'val', 'test')}
        check_choice(self.choices['choose_by'], self.choices['groups'], self.data['test'])
        self.overlap = dev_in_test(self.data['val'], self.data['test'])
        segmentor, weights = load_frozen(self.base, args.checkpoint)
        head = make_head(segmentor, self.base.model.decode_head, weights, args.checkpoint)
        self.head_parameters = sum(p.numel() for p in head.parameters())
        digest = hashlib.sha256(args.head.encode())
        for name, value in {**segmentor.state_dict(), **weights}.items():
            digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
        self.origin = digest.hexdigest()[:12]
        self.base_hash = fingerprint(self.base, without_loss=True) + self.origin

    def run(self) -> int:
        args = self.args
        args.work_dir.mkdir(parents=True, exist_ok=True)
        config = args.work_dir / f'base_{self.base_hash}.py'
        self.base.dump(str(config))
        trials = [HeadRun(run) for run in plan_trials(self.runs, args.tune, args.tune_seed)]
        trial_jobs = self._jobs(trials)
        as_trained = HeadRun(
            Run(Ingredient(CHECKPOINT, None), Ingredient(AS_CONFIGURED, None), args.seeds[0]),
            trained=False,
        )
        self._announce(len(trials) + len(self.runs))
        settings = self._settings(config)
        jobs: list[HeadJob] = []

        def report(final: bool = False) -> None:
            tried = trial_results(trial_jobs, self.choices['choose_by'])
            publish(args.work_dir, self._facts(), tried, final)

        try:
            with ScreenProgress(len(trials) + 1 + len(self.runs)) as progress:
                passes = Passes(
                    args.work_dir,
                    Launcher(args.launcher, args.gpus),
                    settings,
                    self.engine,
                    args.heads,
                    progress.show,
                    progress.say,
                )
                progress.skip(sum(job.finished for job in trial_jobs))
                passes.run(trial_jobs, lambda: None)
                best = tuned(self.runs, trial_jobs, self.choices['choose_by'])
                jobs += self._jobs([as_trained, *map(HeadRun, best)])
                progress.skip(sum(job.finished for job in jobs))
                passes.run(jobs, report)
        except KeyboardInterrupt:
            if jobs:
                report()
            raise
        report(final=True)
        announce(args.work_dir)
        if args.keep:
            print(keep_head(args, jobs))
        return int(any(not job.finished for job in (*trial_jobs, *jobs)))

    def _jobs(self, heads: list[HeadRun]) -> list[HeadJob]:
        return make_jobs(heads, self.base, self.args.work_dir, self.origin, self.decisions)

    def _settings(self, config: Path) -> dict:
        args = self.args
        return {
            'config': str(config),
            'checkpoint': args.checkpoint,
            'head': args.head,
            'base_hash': self.base_hash,
            'iterations': self.base.train_cfg.max_iters,
            'decisions': self.decisions,
            'images': fixed_images(self.data['test'], args.images),
            'shown_seed': args.seeds[0],
        }

    def _facts(self) -> dict:
        """What results.json says of the screening as a whole."""
        args = self.args
        call = {
            'command': shlex.join(['mmseg-balance', *args.argv]),
            'base_hash': self.base_hash,
            'methods': list(dict.fromkeys(run.method for run in self.runs)),
        }
        about = setting(args.config, self.base, self.data['train'], self.data['test'])
        return {
            'verb': 'screen',
            'setting': {
                **about,
                'checkpoint': args.checkpoint,
                'head': args.head,
                'dev_images': len(self.data['val']),
                **self.overlap,
                'decisions': self.decisions,
                **self.choices,
                'tuned': args.tune,
            },
            'environment': environment(),
            'calls': calls_so_far(args.work_dir, call),
        }

    def _announce(self, heads: int) -> None:
        """Say what it will take, before it starts."""
        args = self.args
        processes = self.engine.slots * args.gpus
        numbers = self.head_parameters * 4 * 4  # weights, gradients, two moments; float32
        at_once = min(args.heads, heads)
        print(
            f'{number_of(heads, "head")} of {self.head_parameters / 1e6:.2f} million weights, '
            f'{number_of(self.base.train_cfg.max_iters, "iteration")} each; in memory at once '
            f'{processes} x {at_once * numbers / 2**20:.0f} MiB beside the network, on disk up to '
            f'{(heads * self.head_parameters * 4 + 2 * processes * at_once * numbers) / 2**20:.0f} '
            f'MiB in {args.work_dir}; no features are stored.'
        )


def screened_config(args: argparse.Namespace) -> Config:
    """The config, as long as a head is trained.

    Raises:
        ValueError: it counts epochs.
    """
    base = prepare_base(args.config, args.cfg_options)
    loop = base.train_cfg
    if loop.get('by_epoch') or 'max_iters' not in loop:
        raise ValueError(
            f'{args.config} counts epochs (train_cfg has no max_iters), and screen counts '
            'iterations; use an iteration-based schedule.'
        )
    tenth = max(1, round(SHARE_OF_TRAINING * loop.max_iters))
    shorten(base, tenth if args.iters is None else args.iters)
    if args.amp:
        use_mixed_precision(base)
    return base


def every_loss(roots: list[Path]) -> list[str]:
    """Names of all loss files, cross entropy first."""
    names = {path.stem for root in roots for path in root.glob('_base_/losses/*.py')}
    return sorted(names, key=lambda name: (name != 'ce', name))
