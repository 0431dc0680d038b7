"""From a config file and command-line options to a config that this machine can run."""

import argparse
import atexit
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from mmseg_balance.runtime import checkpoints
from mmseg_balance.runtime.atomic_files import DiskFullError
from mmseg_balance.runtime.input_checks import InputError


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision on a CPU: bfloat16 autocast, which needs no loss scaling.

    MMEngine's ``AmpOptimWrapper`` refuses to run without an accelerator.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share with MMSegmentation's own scripts."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help="where logs, checkpoints and scores go (default: the config's, or work_dirs/<config name>)",
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override parts of the config: model.decode_head.dropout_ratio=0',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes were started (default: none were)',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by the launcher'
    )
    parser.add_argument('--seed', type=int, help='seed of every random number generator')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='unpickle checkpoints without restriction: whoever wrote them can then run code here',
    )


def load_config(args: argparse.Namespace) -> Config:
    """Read the config, apply the common options and fit it to this machine.

    Raises:
        SystemExit: the config is missing; says which file was looked for.
    """
    if not Path(args.config).is_file():
        raise SystemExit(f'error: there is no config {args.config} (looked from {os.getcwd()})')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.trust_checkpoint:
        checkpoints.trust_checkpoints()
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    if args.seed is not None:
        cfg.randomness = {**cfg.get('randomness', {}), 'seed': args.seed}
    if get_device() == 'cpu':
        join_processes_on_cpu(cfg.launcher)
        fit_to_cpu(cfg)
    return cfg


def join_processes_on_cpu(launcher: str) -> None:
    """Meet the other processes through Gloo; MMEngine would ask for a GPU while it does that.

    Raises:
        SystemExit: the launcher is none that a CPU is prepared for.
    """
    if launcher == 'none' or torch.distributed.is_initialized():
        return
    if launcher != 'pytorch':
        raise SystemExit(
            f'error: --launcher {launcher} needs accelerators: without any, start the '
            'processes with tools/dist_train.sh or tools/dist_test.sh'
        )
    torch.distributed.init_process_group('gloo')


def leave_processes_on_cpu() -> None:
    """End this process, its work done, if it met others through Gloo.

    A thread of Gloo may still be freeing the tensors of the last exchange. An interpreter that
    takes itself apart stops such a thread, which C++ answers with an abort: so it shall not come
    to that. What Python does at an exit is done, but for freeing its memory.
    """
    if not (torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo'):
        return
    torch.distributed.destroy_process_group()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def fit_to_cpu(cfg: Config) -> None:
    """Replace what exists only on an accelerator, and say so in the log.

    Synchronised batch norm becomes plain batch norm, NCCL becomes Gloo, and a model that several
    processes train is wrapped without a device.
    """
    replaced = _replace_sync_bn(cfg.model)
    if cfg.get('sync_bn'):
        cfg.sync_bn = None
        replaced += 1
    if replaced:
        print_log(
            f'SyncBN needs an accelerator: {replaced} norm layer setting(s) of the config '
            'are plain BN in this run on the CPU.',
            logger='current',
        )
    if cfg.get('launcher', 'none') == 'none':
        return
    if cfg.get('model_wrapper_cfg') is None:
        # MMEngine's own default names a device, which PyTorch refuses for a model on the CPU.
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    if cfg.get('env_cfg', {}).get('dist_cfg', {}).get('backend') == 'nccl':
        cfg.env_cfg.dist_cfg.backend = 'gloo'
        print_log(
            'NCCL needs an accelerator: the processes of this run talk through Gloo.',
            logger='current',
        )


def _replace_sync_bn(node: object) -> int:
    """Turn every ``type='SyncBN'`` below ``node`` into ``'BN'``; how many there were."""
    replaced = 0
    if isinstance(node, dict):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
            replaced = 1
        children: Sequence = list(node.values())
    else:
        children = node if isinstance(node, (list, tuple)) else ()
    return replaced + sum(_replace_sync_bn(child) for child in children)


@contextmanager
def errors_in_one_sentence() -> Iterator[None]:
    """End the script with one sentence where that says all a user needs to mend the matter."""
    try:
        yield
    except (checkpoints.CheckpointError, InputError, FloatingPointError, DiskFullError) as error:
        raise SystemExit(f'error: {error}') from None
    except ValueError as error:
        # What MMEngine's data sets raise while they are built, before any hook can look at them.
        if 'need at least one array to concatenate' not in str(error):
            raise
        raise SystemExit(
            'error: a data set of the config has no image: look at its data_root, data_prefix, ann_file and img_suffix'
        ) from None


def use_mixed_precision(cfg: Config) -> None:
    """Train in mixed precision: float16 with loss scaling, or bfloat16 on a CPU.

    Raises:
        SystemExit: the config's optimizer wrapper has no mixed-precision counterpart.
    """
    wrapper = cfg.optim_wrapper
    on_cpu = get_device() == 'cpu'
    kind = wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise SystemExit(
            f'error: --amp works with optim_wrapper.type OptimWrapper, and the config '
            f'has {kind}: choose its mixed-precision form in the config itself'
        )
    if on_cpu:
        for option in ('loss_scale', 'dtype'):
            wrapper.pop(option, None)
        wrapper.type = 'BFloat16OptimWrapper'
    elif kind == 'OptimWrapper':
        wrapper.type = 'AmpOptimWrapper'
        wrapper.loss_scale = 'dynamic'


def use_test_time_augmentation(cfg: Config) -> None:
    """Test on the views that the config's ``tta_pipeline`` makes, averaged by ``tta_model``.

    Raises:
        SystemExit: the config has no ``tta_pipeline``.
    """
    if 'tta_pipeline' not in cfg:
        raise SystemExit(
            'error: --tta needs tta_pipeline in the config; the data set files of '
            'mmseg::_base_/datasets have one to start from'
        )
    tta_model = cfg.get('tta_model') or ConfigDict(type='SegTTAModel')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**tta_model, module=cfg.model)


def save_predictions(cfg: Config, directory: str) -> None:
    """Write the predicted label maps, as PNGs named like their images, while testing.

    Raises:
        SystemExit: no evaluator of the config can write them.
    """
    evaluators = cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    writers = [evaluator for evaluator in evaluators if evaluator.get('type') == 'IoUMetric']
    if not writers:
        raise SystemExit('error: --out needs an IoUMetric in test_evaluator: it writes the files')
    writers[0].output_dir = directory
    writers[0].keep_results = True


def draw_predictions(cfg: Config, directory: str | None, show: bool, wait_time: float) -> None:
    """Paint predictions beside the labels: into a directory, or on the screen.

    Raises:
        SystemExit: the config has no visualization hook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise SystemExit(
            'error: --show and --show-dir need default_hooks = dict(visualization='
            "dict(type='SegVisualizationHook')) in the config"
        )
    hook.draw = True
    hook.setdefault('interval', 1)  # the hook's own default paints one image in fifty
    if show:
        hook.show = True
        hook.wait_time = wait_time
    if directory:
        cfg.visualizer.save_dir = directory
