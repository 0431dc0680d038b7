"""Trains and scores the heads of one pass; started by ``passes`` as a process of its own."""

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist, is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

import mmseg_balance  # noqa: F401  first: it makes mmseg importable
from mmseg_balance.experiments.results import read_json, write_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen.bank import EveryHeadFailed, HeadBank, told
from mmseg_balance.experiments.screen.bank_runner import PassProgress, bank_runner
from mmseg_balance.experiments.screen.evaluation import Scorer, score_heads
from mmseg_balance.experiments.screen.frozen import HEAD, load_frozen, make_head
from mmseg_balance.experiments.screen.plan import HEAD_FILE, PROGRESS, HeadRun, head_config
from mmseg_balance.experiments.training_log import curves, read_scalars
from mmseg_balance.runtime.atomic_files import atomic_write
from mmseg_balance.runtime.cpu import fit_to_cpu, join_processes_on_cpu, leave_processes_on_cpu
from mmseg_balance.runtime.input_checks import check_settings

LOADERS = {'dev': 'val', 'test': 'test'}


class Pass:
    """The heads of one pass, from their configs to their scores.

    Args:
        folder: Holds ``pass.json``, written by ``passes``.
    """

    def __init__(self, folder: Path, launcher: str) -> None:
        self.folder = folder
        self.content = read_json(folder / 'pass.json')
        self.work_dir = Path(self.content['work_dir'])
        self.base = Config.fromfile(self.content['config'])
        self.base.launcher = launcher
        if get_device() == 'cpu':
            join_processes_on_cpu(launcher)
            fit_to_cpu(self.base)
            for split in ('train', 'val', 'test'):
                self.base[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
                self.base[f'{split}_dataloader'].pop('prefetch_factor', None)
        elif launcher != 'none':  # before anything is on a device: each process gets its own
            init_dist(launcher, **self.base.get('env_cfg', {}).get('dist_cfg', {}))
        self.runs = {f'h{i}': HeadRun.from_dict(run) for i, run in enumerate(self.content['runs'])}
        self.folders = {
            name: RunFolder(self.work_dir / run.folder) for name, run in self.runs.items()
        }
        self.hashes = dict(zip(self.runs, self.content['hashes'], strict=True))
        self.configs = {name: head_config(self.base, run) for name, run in self.runs.items()}
        self.errors: dict[str, str] = {}
        self.segmentor, self.weights = load_frozen(self.base, self.content['checkpoint'])
        iterations = self.base.train_cfg.max_iters
        self.progress = PassProgress(folder / PROGRESS, iterations)

    def train(self) -> dict[str, nn.Module]:
        """Train the heads; those that could not be built or failed are left out.

        A head that was trained before, and then stopped or asked for with another decision rule, is
        only read.
        """
        heads = self._heads()
        todo = {
            name: head
            for name, head in heads.items()
            if self.runs[name].trained and not self._read(name, head)
        }
        if not todo:
            return heads
        bank = HeadBank(self.segmentor, todo)
        runner = bank_runner(bank, self.configs, self.folder, self.progress)
        self._check(bank, runner)
        if bank.failed.keys() < todo.keys():
            with suppress(EveryHeadFailed):
                runner.train()
            bank.check_finite()
            bank.share_buffers()
        self.errors |= bank.failed
        for name in todo.keys() - bank.failed.keys():
            self._add_seconds(name, 'train', bank.seconds[name])
        if is_main_process():
            rows = read_scalars(self.folder / 'train')
            for name in todo.keys() - bank.failed.keys():
                own = [_own_numbers(row, name) for row in rows]
                write_json(self.folders[name].path / 'curves.json', curves(own))
                self._write(name, todo[name])
        return {name: head for name, head in heads.items() if name not in bank.failed}

    def _read(self, name: str, head: nn.Module) -> bool:
        """Load the weights of a head that has been trained; whether it has."""
        folder = self.folders[name]
        if folder.state.get('trained') != self.hashes[name]:
            return False
        weights = torch.load(folder.path / HEAD_FILE, weights_only=True, map_location='cpu')
        head.load_state_dict({key.removeprefix(HEAD): value for key, value in weights.items()})
        return True

    def _write(self, name: str, head: nn.Module) -> None:
        folder = self.folders[name]
        weights = {f'{HEAD}{key}': value.cpu() for key, value in head.state_dict().items()}
        with atomic_write(folder.path / HEAD_FILE) as file:
            torch.save(weights, file)
        folder.update_state(trained=self.hashes[name])

    def _heads(self) -> dict[str, nn.Module]:
        heads = {}
        for name, run in self.runs.items():
            keep = self.content['head'] == 'keep' or not run.trained
            torch.manual_seed(run.run.seed)
            try:
                heads[name] = make_head(
                    self.segmentor,
                    self.configs[name].model.decode_head,
                    self.weights if keep else None,
                    self.content['checkpoint'],
                ).to(next(self.segmentor.parameters()).device)
            except Exception as error:
                self.errors[name] = told(error)
        return heads

    def _check(self, bank: HeadBank, runner: Runner) -> None:
        """Let losses read their statistics, and give up heads whose settings do not fit."""
        dataset = runner.build_dataloader(self.base.train_dataloader).dataset
        for name, task in bank.tasks.items():
            try:
                for module in task.modules():
                    if hasattr(module, 'read_statistics'):
                        module.read_statistics(dataset)
                check_settings(task, dataset, None)
            except Exception as error:
                bank.fail(name, error)

    def _add_seconds(self, name: str, stage: str, seconds: float) -> None:
        if is_main_process():
            folder = self.folders[name]
            folder.update_state(seconds={**folder.state.get('seconds', {}), stage: seconds})

    def score(self, heads: dict[str, nn.Module]) -> None:
        """Score the heads on the splits of their runs."""
        if is_main_process():
            for name in heads:  # finished ones too, which another decision brings back
                self.folders[name].reopen()
        seconds = dict.fromkeys(heads, 0.0)
        for split, kind in LOADERS.items():
            scored = {n: h for n, h in heads.items() if split in self.runs[n].splits}
            if not scored:
                continue
            started = time.monotonic()
            self._score_split(split, kind, scored)
            for name in scored:
                seconds[name] += (time.monotonic() - started) / len(scored)
        for name in heads:
            self._add_seconds(name, 'test', seconds[name])

    def _score_split(self, split: str, kind: str, heads: dict[str, nn.Module]) -> None:
        loader = Runner.build_dataloader(
            {**self.base[f'{kind}_dataloader'], 'persistent_workers': False}, seed=0
        )
        evaluator = self.base.get(f'{kind}_evaluator')
        scorers = {
            name: Scorer(
                self.folders[name],
                split,
                self.content['decisions'],
                evaluator,
                loader.dataset.metainfo,
                self.content['images'] if self._shown(name, split) else (),
            )
            for name in heads
        }
        score_heads(
            self.segmentor,
            heads,
            scorers,
            loader,
            lambda done: self.progress.note(split, done, len(loader.dataset)),
        )

    def _shown(self, name: str, split: str) -> bool:
        return split == 'test' and self.runs[name].run.seed == self.content['shown_seed']

    def finish(self, heads: dict[str, nn.Module]) -> None:
        """Mark the runs of ``heads`` as finished, and write what happened to the others."""
        if not is_main_process():
            return
        for name, error in self.errors.items():
            self.folders[name].update_state(error=error)
        for name in heads:
            self.folders[name].update_state(error='')
            self.folders[name].finish(self.hashes[name])


def _own_numbers(row: dict, name: str) -> dict:
    start = f'{name}/'
    own = {key.removeprefix(start): value for key, value in row.items() if key.startswith(start)}
    return {'step': row.get('step'), **own}


def main(argv: list[str] | None = None) -> int:
    """Train and score the heads of one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--launcher', default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    init_default_scope('mmseg')
    heads_of = Pass(args.folder, args.launcher)
    heads = heads_of.train()
    heads_of.score(heads)
    heads_of.finish(heads)
    leave_processes_on_cpu()
    return 0


if __name__ == '__main__':
    sys.exit(main())
