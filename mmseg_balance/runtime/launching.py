"""From a config file and command-line options to a config that this machine can run."""

import argparse
import errno
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device

from mmseg_balance.runtime import checkpoints
from mmseg_balance.runtime.atomic_files import DiskFullError
from mmseg_balance.runtime.config_files import (
    ConfigError,
    check_parts,
    override,
    read_config,
    type_name,
)
from mmseg_balance.runtime.cpu import fit_to_cpu, join_processes_on_cpu, use_bfloat16
from mmseg_balance.runtime.input_checks import InputError

LARGEST_SEED = 2**32 - 1  # what NumPy takes
NO_CHECKPOINT = ' can not be found.'  # what MMEngine says, without a file name
NO_ANN_FILE = 'Failed to load `ann_file` '  # what MMSegmentation asserts


def load_config(args: argparse.Namespace) -> Config:
    """Read the config, apply the common options and fit it to this machine.

    Raises:
        SystemExit: the file is missing or no config; says which was looked for.
    """
    _check_options(args)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.trust_checkpoint:
        checkpoints.trust_checkpoints()
    with errors_in_one_sentence():
        cfg = read_config(args.config)
        cfg.launcher = args.launcher
        override(cfg, args.cfg_options)
        check_parts(cfg, 'model')
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


def _check_options(args: argparse.Namespace) -> None:
    """Refuse what MMEngine or NumPy would end in a traceback for."""
    if args.seed is not None:
        with errors_in_one_sentence():
            check_seed('--seed', args.seed)
    if args.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise SystemExit(
            'error: --launcher pytorch is for the processes of torchrun, which has not started this one: '
            'torchrun --nproc_per_node N -m mmseg_balance VERB … --launcher pytorch'
        )


def check_seed(option: str, seed: int) -> None:
    """Raise ValueError, naming the option, for a seed that NumPy does not take."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f'{option} must be 0 to {LARGEST_SEED}, got {seed}')


@contextmanager
def errors_in_one_sentence() -> Iterator[None]:
    """End the script with one sentence where that says all that a user needs to know."""
    try:
        yield
    except (checkpoints.CheckpointError, ConfigError, InputError, FloatingPointError) as error:
        raise SystemExit(f'error: {error}') from None
    except (ValueError, TypeError, KeyError, OSError, AssertionError) as error:
        said = in_one_sentence(error)
        if said is None:
            raise
        raise SystemExit(f'error: {said}') from None


def in_one_sentence(error: Exception) -> str | None:
    """What a user needs to know of an error in config, data or folders; None: more than a sentence."""
    message = str(error.args[0]) if error.args else ''
    missing = re.match(r'(\S+) is not in the (\S+) registry', message)
    if isinstance(error, KeyError) and missing:
        return (
            f'{missing[1]} is not in the registry {missing[2]}: the name is misspelt, or custom_imports '
            'lacks the module that registers it; mmseg-balance doctor CONFIG names what is close'
        )
    if isinstance(error, TypeError) and '__init__() got an unexpected keyword argument' in message:
        return f'{message}: the config gives it, and the class does not know it'
    # What data sets raise while they are built, before any hook can look at them.
    if message.startswith(NO_ANN_FILE):
        return f'{message.removeprefix(NO_ANN_FILE)} does not exist: look at ann_file and data_root'
    if 'need at least one array to concatenate' in message:
        return 'a data set of the config has no image: look at its data_root, data_prefix, ann_file and img_suffix'
    if isinstance(error, FileNotFoundError) and message.endswith(NO_CHECKPOINT):
        return (
            f'there is no checkpoint {message.removesuffix(NO_CHECKPOINT)} (looked from {os.getcwd()}): look at '
            'load_from, and at the checkpoint of every init_cfg'
        )
    if isinstance(error, FileNotFoundError) and error.filename:
        return (
            f'{error.filename} does not exist (looked from {os.getcwd()}); if it is a folder of the data, '
            'look at data_root, data_prefix and ann_file'
        )
    if getattr(error, 'errno', None) in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return f'{error.filename} cannot be written or read: {error.strerror}'
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename:
        return (
            f'{error.filename}: a file stands where a folder is wanted ({error.strerror}); give another '
            'work_dir, or remove the file'
        )
    return str(error) if isinstance(error, DiskFullError) or _is_ours(error) else None


def words_of(error: Exception) -> str | None:
    """The sentence of an error, or its own words if they may be about an input; None: a traceback tells more."""
    said = in_one_sentence(error)
    if said is None and isinstance(error, (ValueError, OSError, checkpoints.CheckpointError)):
        return str(error)
    return said


def _is_ours(error: Exception) -> bool:
    """Whether a ``raise`` of this package made the error: its words are meant for users."""
    frames = traceback.extract_tb(error.__traceback__)
    here = Path(__file__).parents[1]
    return here in Path(frames[-1].filename).parents and (frames[-1].line or '').startswith(
        'raise '
    )


def use_mixed_precision(cfg: Config) -> None:
    """Train in mixed precision: float16 with loss scaling, or bfloat16 on a CPU.

    Raises:
        SystemExit: the config's optimizer wrapper has no mixed-precision counterpart.
    """
    wrapper = cfg.optim_wrapper
    on_cpu = get_device() == 'cpu'
    kind = type_name({'type': 'OptimWrapper', **wrapper})
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise SystemExit(
            f'error: --amp works with optim_wrapper.type OptimWrapper, and the config '
            f'has {kind}: choose its mixed-precision form in the config itself'
        )
    if on_cpu:
        use_bfloat16(wrapper)
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
    writers = [one for one in evaluators if type_name(one) == 'IoUMetric']
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
