"""A screened head put back into its network: an ordinary checkpoint."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from mmseg_balance.experiments.screen.frozen import HEAD
from mmseg_balance.experiments.screen.jobs import HeadJob
from mmseg_balance.experiments.screen.plan import HEAD_FILE
from mmseg_balance.runtime.atomic_files import atomic_write, check_output
from mmseg_balance.runtime.checkpoints import read_weights


def check_kept(method: str, out: str, known: Sequence[str], checkpoint: str) -> None:
    """Raise ValueError for a method or a file that ``--keep`` cannot take, before anything is trained."""
    if method not in known:
        raise ValueError(
            f'--keep: no head of {method!r}; methods are {", ".join(dict.fromkeys(known))} (a '
            'decision rule is no part of a checkpoint: give the method without it).'
        )
    check_output('--keep', out, inputs={'checkpoint': checkpoint})


def keep_head(args: argparse.Namespace, jobs: Sequence[HeadJob]) -> str:
    """Write the checkpoint with the head of a method, of the first seed; returns what was done.

    Raises:
        ValueError: no head of this method is finished.
    """
    method, out = args.keep
    done = [job for job in jobs if job.head_run.method == method and job.finished]
    if not done:
        raise ValueError(f'--keep: no head of {method!r} is finished; see why in the report.')
    weights, meta = read_weights(args.checkpoint)
    head = torch.load(done[0].folder.path / HEAD_FILE, weights_only=True, map_location='cpu')
    weights = {k: v for k, v in weights.items() if not k.startswith(HEAD)}
    # Buffers of the method's loss are no part of the network of the config.
    weights |= {name: value for name, value in head.items() if '.loss_decode' not in name}
    meta = {k: v for k, v in meta.items() if k in ('dataset_meta', 'cfg')}
    meta['screened'] = dict(method=method, seed=done[0].head_run.run.seed, from_=args.checkpoint)
    Path(out).resolve().parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as file:
        torch.save({'meta': meta, 'state_dict': weights}, file)
    return f'kept {done[0].head_run.name} as {out}; test it with {args.config}'
