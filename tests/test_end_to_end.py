"""Train three iterations, save, resume, test: with our scripts and with MMSegmentation's own."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import mmseg
import pytest
import torch

CONFIG = 'configs/deeplabv3_lmp_camvid_small.py'
STOCK_TOOLS = Path(mmseg.__file__).parent / '.mim' / 'tools'


class Launcher:
    """Runs a script on the small CamVid config with tiny data, from the root of the repository."""

    def __init__(self, repository: Path, data: Path) -> None:
        self.repository = repository
        loaders = [f'{split}_dataloader' for split in ('train', 'val', 'test')]
        self.options = [
            f'{loader}.{option}'
            for loader in loaders
            for option in (f'dataset.data_root={data}', 'num_workers=0', 'persistent_workers=False')
        ]
        self.options += ['default_hooks.logger.interval=1']

    def __call__(
        self, script: Path | str, *arguments: str, iterations: int = 3, **variables: str
    ) -> subprocess.CompletedProcess:
        steps = [f'train_cfg.max_iters={iterations}', f'train_cfg.val_interval={iterations}']
        command = [
            sys.executable,
            str(script),
            CONFIG,
            *arguments,
            '--cfg-options',
            *self.options,
            *steps,
        ]
        return subprocess.run(
            command,
            cwd=self.repository,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, 'OMP_NUM_THREADS': '1', **variables},
        )


@pytest.fixture(scope='module')
def launch(repository, tiny_camvid) -> Launcher:
    return Launcher(repository, tiny_camvid)


@pytest.fixture(scope='module')
def trained(launch, tmp_path_factory) -> Path:
    """The work directory of a training of three iterations, with its checkpoint."""
    work_dir = tmp_path_factory.mktemp('trained')
    result = launch('tools/train.py', '--work-dir', str(work_dir))
    assert result.returncode == 0, result.stderr
    assert iterations_of(result) == ['1/3', '2/3', '3/3']
    return work_dir


@pytest.fixture
def work_dir(trained, tmp_path) -> Path:
    """A copy of it, whose ``last_checkpoint`` names the copied checkpoint."""
    copy = shutil.copytree(trained, tmp_path / 'work')
    (copy / 'last_checkpoint').write_text(str(copy / 'iter_3.pth'))
    return copy


def output(result: subprocess.CompletedProcess) -> str:
    return result.stdout + result.stderr


def iterations_of(result: subprocess.CompletedProcess) -> list[str]:
    return [
        re.sub(r'\s', '', step)
        for step in re.findall(r'Iter\(train\) \[([ \d]+/[ \d]+)\]', output(result))
    ]


SCRIPTS = pytest.mark.parametrize('tools', ['tools', STOCK_TOOLS], ids=['ours', 'stock'])


@SCRIPTS
def test_a_resumed_run_continues(launch, trained, work_dir, tools):
    result = launch(f'{tools}/train.py', '--resume', '--work-dir', str(work_dir), iterations=5)
    assert result.returncode == 0, output(result)
    assert iterations_of(result) == ['4/5', '5/5']
    before, after = (
        torch.load(path, weights_only=False)
        for path in (trained / 'iter_3.pth', work_dir / 'iter_5.pth')
    )
    assert after['meta']['iter'] == 5
    # Adam's step count goes on from 3: the optimizer's state was restored too.
    assert {float(state['step']) for state in before['optimizer']['state'].values()} == {3.0}
    assert {float(state['step']) for state in after['optimizer']['state'].values()} == {5.0}
    history = after['message_hub']['log_scalars']['train/loss']
    assert len(history.data[0]) == 5


def assert_tested(result: subprocess.CompletedProcess) -> None:
    assert result.returncode == 0, output(result)
    assert re.search(r'Iter\(test\) \[2/2\].* mIoU: ', output(result))
    assert 'bicyclist' in output(result)


def test_a_checkpoint_is_tested_by_the_stock_script(launch, trained, tmp_path):
    assert_tested(
        launch(STOCK_TOOLS / 'test.py', str(trained / 'iter_3.pth'), '--work-dir', str(tmp_path))
    )


def test_a_checkpoint_is_tested_and_its_predictions_written_and_painted(launch, trained, tmp_path):
    assert_tested(
        launch(
            'tools/test.py',
            str(trained / 'iter_3.pth'),
            '--work-dir',
            str(tmp_path),
            '--out',
            str(tmp_path / 'maps'),
            '--show-dir',
            str(tmp_path / 'painted'),
        )
    )
    maps = sorted((tmp_path / 'maps').iterdir())
    assert [path.name for path in maps] == ['0.png', '1.png']
    assert cv2.imread(str(maps[0]), cv2.IMREAD_UNCHANGED).shape == (48, 64)
    assert len(list((tmp_path / 'painted').rglob('*.png'))) == 2


@SCRIPTS
def test_a_malicious_checkpoint_is_refused(launch, trained, tmp_path, tools):
    checkpoint = torch.load(trained / 'iter_3.pth', weights_only=False)
    mark = tmp_path / 'owned'
    checkpoint['meta']['extra'] = Touch(mark)
    bad = tmp_path / 'bad.pth'
    torch.save(checkpoint, bad)
    result = launch(f'{tools}/test.py', str(bad), '--work-dir', str(tmp_path / 'work'))
    assert result.returncode != 0
    assert not mark.exists()
    assert f'{bad} was refused' in output(result)
    if tools == 'tools':
        assert 'Traceback' not in output(result)
        assert '--trust-checkpoint' in output(result)


class Touch:
    """Pickles as a call that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)


@pytest.mark.parametrize(
    ('script', 'arguments', 'message'),
    [
        ('train.py', ['none.py'], 'there is no config none.py'),
        ('test.py', ['none.py', 'none.pth'], 'there is no checkpoint none.pth'),
    ],
)
def test_a_missing_file_is_one_line(repository, monkeypatch, script, arguments, message):
    monkeypatch.setattr(sys, 'argv', [script, *arguments])
    with pytest.raises(SystemExit, match=f'^error: {message}.*$'):
        runpy.run_path(str(repository / 'tools' / script), run_name='__main__')
