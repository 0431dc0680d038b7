"""Several processes: the launchers, two ranks on one machine, two machines of one rank each."""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dist import get_rank

import mmseg_balance  # noqa: F401  first: it makes MMSegmentation importable

# isort: split
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS

from mmseg_balance.runtime.cpu import fit_to_cpu
from tests.support.ranks import run_ranks
from tests.support.tiny_run import Recorder, tiny_config, train
from tools.bad_inputs import config, relabel, write_data

SECONDS = 240


def run_with_fakes(script, *arguments, folder, commands, **variables):
    """Run a script in a folder, with commands of these bodies first on the PATH."""
    fake = folder / 'bin'
    fake.mkdir(exist_ok=True)
    for name, body in commands.items():
        (fake / name).write_text(f'#!/usr/bin/env bash\n{body}\n')
        (fake / name).chmod(0o755)
    return subprocess.run(
        ['bash', str(script), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, 'PATH': f'{fake}:{os.environ["PATH"]}', **variables},
    )


@pytest.fixture
def launch(repository, tmp_path):
    """Run a launcher with tools that only record their arguments, and return those."""
    commands = dict.fromkeys(('srun', 'recorder'), 'printf "%s\\n" "$@"')

    def run(script, *arguments, status=0, **variables):
        variables = {'PYTHON': 'recorder', **variables}
        script = repository / 'tools' / script
        result = run_with_fakes(script, *arguments, folder=tmp_path, commands=commands, **variables)
        assert result.returncode == status, result.stderr
        return result.stdout.splitlines() if not status else result.stderr

    return run


def script_of(repository, name):
    return str(repository / 'tools' / name)


@pytest.mark.parametrize(
    ('script', 'tool', 'positional'),
    [
        ('dist_train.sh', 'train.py', ['a config.py']),
        ('dist_test.sh', 'test.py', ['a config.py', 'b.pth']),
    ],
)
def test_torchrun_gets_the_machines_and_the_tool_its_options(
    launch, repository, script, tool, positional
):
    options = ['--work-dir', 'a folder', '--cfg-options', 'a.b=[1, 2]']
    end = [script_of(repository, tool), *positional, *options, '--launcher', 'pytorch']
    start = ['-m', 'torch.distributed.run']
    assert launch(script, *positional, '2', *options) == [
        *start,
        '--nnodes=1',
        '--nproc_per_node=2',
        '--standalone',
        *end,
    ]
    assert launch(
        script,
        *positional,
        '8',
        *options,
        NNODES='2',
        NODE_RANK='1',
        MASTER_ADDR='10.0.0.1',
        PORT='29501',
    ) == [
        *start,
        '--nnodes=2',
        '--nproc_per_node=8',
        '--node_rank=1',
        '--master_addr=10.0.0.1',
        '--master_port=29501',
        *end,
    ]
    # As in MMSegmentation's scripts, a port may be given for one machine too.
    assert '--master_port=4321' in launch(script, *positional, '2', PORT='4321')


@pytest.mark.parametrize(
    ('script', 'tool', 'positional'),
    [
        ('slurm_train.sh', 'train.py', ['a config.py']),
        ('slurm_test.sh', 'test.py', ['a config.py', 'b.pth']),
    ],
)
def test_srun_gets_the_tasks_and_the_tool_its_options(launch, repository, script, tool, positional):
    end = [
        '--kill-on-bad-exit=1',
        'recorder',
        '-u',
        script_of(repository, tool),
        *positional,
        '--amp',
        '--launcher',
        'slurm',
    ]
    assert launch(script, 'gpus', 'a job', *positional, '--amp') == [
        '--partition=gpus',
        '--job-name=a job',
        '--gres=gpu:4',
        '--ntasks=4',
        '--ntasks-per-node=4',
        '--cpus-per-task=5',
        *end,
    ]
    assert launch(
        script,
        'gpus',
        'a job',
        *positional,
        '--amp',
        GPUS='16',
        CPUS_PER_TASK='2',
        SRUN_ARGS='--time=1:00:00 --qos=low',
    ) == [
        '--partition=gpus',
        '--job-name=a job',
        '--gres=gpu:8',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--cpus-per-task=2',
        end[0],
        '--time=1:00:00',
        '--qos=low',
        *end[1:],
    ]


@pytest.mark.parametrize(
    'arguments',
    [
        ['dist_train.sh', 'a.py'],
        ['dist_train.sh', 'a.py', '--amp'],
        ['dist_train.sh', 'a.py', '0'],
        ['dist_test.sh', 'a.py', 'b.pth'],
        ['slurm_train.sh', 'gpus', 'job'],
        ['slurm_test.sh', 'gpus', 'job', 'a.py'],
    ],
    ids=' '.join,
)
def test_usage(launch, arguments):
    message = launch(*arguments, status=2)
    assert f'bash tools/{arguments[0]} ' in message
    assert '#' not in message


FAKE_SLURM = {
    'scontrol': 'printf "node1\\nnode2\\n"',
    'srun': 'case "$*" in *hostname*) echo 10.0.0.1 ;; *) echo "srun $*" >>calls ;; esac',
    'ray': 'case "$1" in status) exit "$STATUS" ;; list) echo "$NODES" ;; esac',
    'sleep': 'echo sleep >>calls',
}

# The script ends what it started, which first has to have been called.
COMMAND = """
until [[ $(grep -c ^srun calls 2>/dev/null) == 2 ]]; do /bin/sleep .1; done
echo "at $RAY_ADDRESS"
"""


@pytest.fixture
def slurm_ray(repository, tmp_path):
    """Run ``slurm_ray.sh`` in an allocation of two fake nodes; returns the result and the calls."""

    def run(**variables):
        allocation = {'SLURM_JOB_ID': '7', 'SLURM_JOB_NODELIST': 'node[1-2]'}
        ray = {'STATUS': '0', 'NODES': '[{"node_id": "a"}, {"node_id": "b"}]'}
        result = run_with_fakes(
            repository / 'tools' / 'slurm_ray.sh',
            *('bash', '-c', COMMAND),
            folder=tmp_path,
            commands=FAKE_SLURM,
            **(allocation | ray | variables),
        )
        calls = tmp_path / 'calls'
        return result, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_ray_in_an_allocation_starts_the_command_as_soon_as_both_nodes_joined(slurm_ray):
    """Ray lists its nodes on one line; counted by lines, two never joined (five minutes' wait)."""
    result, calls = slurm_ray(SLURM_CPUS_PER_TASK='64', SLURM_GPUS_ON_NODE='8')
    assert (result.returncode, result.stdout, result.stderr) == (0, 'at 10.0.0.1:6386\n', '')
    step = 'srun --overlap --nodes=1 --ntasks=1 --cpus-per-task=64 --nodelist='
    resources = '--num-cpus=64 --num-gpus=8 --block'
    assert sorted(calls) == [
        f'{step}node1 ray start --head --node-ip-address=10.0.0.1 --port=6386 {resources}',
        f'{step}node2 ray start --address=10.0.0.1:6386 {resources}',
    ]


def test_ray_in_an_allocation_says_which_nodes_are_missing(slurm_ray):
    result, calls = slurm_ray(NODES='[{"node_id": "a"}]')
    assert (result.returncode, result.stdout) == (0, 'at 10.0.0.1:6386\n')
    assert result.stderr == 'warning: 1 of 2 nodes joined; going on\n'
    assert calls.count('sleep') == 60


def test_ray_in_an_allocation_that_does_not_start_ends_with_an_error(slurm_ray):
    result, _ = slurm_ray(STATUS='1')
    assert (result.returncode, result.stdout) == (1, '')
    assert result.stderr == 'error: Ray did not start on node1 at 10.0.0.1:6386\n'


def test_no_script_expands_an_array_that_may_be_empty(repository):
    """Under ``set -u`` that is an unbound variable for bash before 4.4, as a Mac has it."""
    for script in (repository / 'tools').glob('*.sh'):
        text = script.read_text()
        for name in re.findall(r'(\w+)=\((?:"\$@")?\)', text):
            expansion = f'"${{{name}[@]}}"'
            guarded = f'${{{name}[@]+{expansion}}}'
            assert expansion not in text.replace(guarded, ''), f'{script.name}: {name}'


@pytest.fixture(scope='module')
def project(tmp_path_factory) -> Path:
    """A user's folder: seven images, a config for GPUs (SyncBN, NCCL), every batch of two."""
    folder = tmp_path_factory.mktemp('project')
    write_data(folder / 'data', images=7)
    cfg = config(folder / 'data', folder / 'run', [])
    for part in (cfg.model.backbone, cfg.model.decode_head):
        part.norm_cfg = dict(type='SyncBN')
    cfg.custom_imports = dict(imports=['mmseg_balance'])
    cfg.env_cfg = dict(dist_cfg=dict(backend='nccl'))
    cfg.log_processor = dict(by_epoch=False)
    cfg.model.decode_head.loss_decode = dict(type='SoftDiceLoss', sync=True)
    cfg.default_hooks = dict(
        checkpoint=dict(type='WholeCheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=2),
        label_check=dict(type='LabelCheckHook'),
        finite_loss=dict(type='FiniteLossHook'),
        logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    )
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='ImbalanceMetric', groups=None)]
    cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = (
        cfg.val_dataloader,
        cfg.val_evaluator,
        dict(),
    )
    cfg.dump(folder / 'config.py')
    return folder


def environment(**variables: str) -> dict[str, str]:
    return {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHON': sys.executable,
        'GLOO_SOCKET_IFNAME': 'lo',
        **variables,
    }


def run_script(repository: Path, *command: str) -> str:
    result = subprocess.run(
        ['bash', *command],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=environment(),
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output[-4000:]
    return output


def scores(folder: Path) -> dict[str, float]:
    newest = max(folder.rglob('*.json'), key=os.path.getmtime)
    last = json.loads(newest.read_text().splitlines()[-1])
    return {key: value for key, value in last.items() if 'time' not in key}


@pytest.fixture(scope='module')
def trained(project, repository) -> Path:
    """What two "machines" of one process each leave after two iterations."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                subprocess.Popen(
                    [
                        'bash',
                        'tools/dist_train.sh',
                        str(project / 'config.py'),
                        '1',
                        '--work-dir',
                        str(project / 'run'),
                        '--cfg-options',
                        'train_cfg.max_iters=2',
                    ],
                    cwd=repository,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=environment(NNODES='2', NODE_RANK=str(rank), PORT=port),
                )
            )
            for rank in range(2)
        ]
        outputs = [node.communicate(timeout=SECONDS)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    (project / 'nodes.log').write_text(''.join(outputs))
    return project


def test_two_machines_of_one_process(trained):
    output = (trained / 'nodes.log').read_text()
    assert 'GPU number: 2' in output  # what MMEngine calls a process
    assert 'talk through Gloo' in output
    assert len(re.findall(r'Iter\(train\) \[ *2/2\]', output)) == 1  # one of them writes the log
    assert (trained / 'run' / 'iter_2.pth').is_file()


def test_two_processes_of_one_machine_resume_and_test(trained, repository):
    config, run = str(trained / 'config.py'), trained / 'run'
    latest = run / 'iter_2.pth'
    latest.write_bytes(latest.read_bytes()[:1000])
    output = run_script(
        repository, 'tools/dist_train.sh', config, '2', '--work-dir', str(run), '--resume'
    )
    assert f'{latest} is damaged' in output
    assert 'resumed epoch: 0, iter: 1' in output
    assert re.search(r'Iter\(train\) \[ *3/3\]', output)

    checkpoint = str(run / 'iter_3.pth')
    run_script(
        repository,
        'tools/dist_test.sh',
        config,
        checkpoint,
        '2',
        '--work-dir',
        str(trained / 'two'),
    )
    run_script(
        repository,
        'tools/dist_test.sh',
        config,
        checkpoint,
        '1',
        '--work-dir',
        str(trained / 'one'),
    )
    # Seven images on two ranks: one of them is given an image a second time, which must not count.
    assert scores(trained / 'two') == scores(trained / 'one')
    assert 'mIoU' in scores(trained / 'one')


def ignoring_rank(rank: int, folder: str) -> tuple[list[float], torch.Tensor]:
    """Losses and weights of a rank; the second one's images are all ignored."""
    torch.manual_seed(0)
    root = Path(folder) / f'data_{rank}'
    write_data(root)
    if rank:
        relabel(root, lambda labels: np.full_like(labels, 255))
    cfg = tiny_config(root, Path(folder) / f'run_{rank}', iterations=3)
    cfg.model.decode_head.loss_decode = [
        dict(type='LMPLoss'),
        dict(type='SoftDiceLoss', sync=True),
        dict(type='RecallLoss', momentum=0.9, sync=True),
        dict(type='LovaszSoftmaxLoss'),
    ]
    cfg.launcher = 'pytorch'
    fit_to_cpu(cfg)
    recorder = Recorder()
    runner = train(cfg, recorder)
    weights = torch.cat([p.detach().flatten() for p in runner.model.parameters()])
    return list(recorder.losses.values()), weights


def test_a_rank_whose_images_are_all_ignored_stalls_and_breaks_nothing(tmp_path):
    (first, weights), (second, others) = run_ranks(ignoring_rank, 2, str(tmp_path))
    assert len(first) == len(second) == 3
    assert torch.isfinite(weights).all()
    assert torch.equal(weights, others)  # the gradients were averaged
    assert min(first) > 0


@MODELS.register_module()
class NaNOnTheSecondRank(CrossEntropyLoss):
    """Cross entropy that is not a number on one rank alone."""

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs) * (float('nan') if get_rank() else 1.0)


def diverging_rank(rank: int, folder: str) -> str:
    """What a rank says when the loss of the second one is not a number."""
    cfg = tiny_config(Path(folder) / f'data_{rank}', Path(folder) / 'run', iterations=1)
    cfg.model.decode_head.loss_decode = dict(type='NaNOnTheSecondRank')
    cfg.default_hooks.finite_loss = dict(type='FiniteLossHook')
    cfg.launcher = 'pytorch'
    fit_to_cpu(cfg)
    try:
        train(cfg)
    except FloatingPointError as error:
        return str(error)
    return ''


def test_a_nan_on_one_rank_leaves_no_checkpoint(tmp_path):
    """Rank 0's own loss was finite, the averaged gradients were not, and it saved the weights."""
    first, second = run_ranks(diverging_rank, 2, str(tmp_path))
    assert 'iteration 1: a loss of another rank is not finite' in first
    assert 'iteration 1: decode.loss_ce is nan' in second
    assert not list((tmp_path / 'run').glob('*.pth'))
