"""The command: quick to answer, complete, and the same by every door."""

import os
import re
import subprocess
import sys

import pytest

from mmseg_balance import __version__, startup
from mmseg_balance.cli import CLOSED, VERBS, main
from mmseg_balance.commands.benchmark import TABLES
from mmseg_balance.commands.plot import PICTURES
from mmseg_balance.commands.verbs import LazyParser


def module(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize('arguments', [['--help'], ['train', '--help'], ['--version']])
def test_help_imports_nothing_heavy(arguments):
    result = module('-X', 'importtime', '-m', 'mmseg_balance', *arguments)
    assert result.returncode == 0
    imported = set(re.findall(r'\| +([\w.]+)$', result.stderr, re.M))
    assert 'mmseg_balance.cli' in imported
    assert not imported & {'torch', 'numpy', 'mmengine', 'mmcv', 'mmseg', 'matplotlib', 'cv2'}


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(['--version'])
    assert capsys.readouterr().out == f'mmseg-balance {__version__}\n'


VERBS_AND_PICTURES = [
    *([verb] for verb in VERBS),
    *(['plot', name] for name in PICTURES),
    *(['benchmark', name] for name in TABLES),
]


def test_help_says_the_defaults(capsys):
    with pytest.raises(SystemExit):
        main(['compare', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    for said in ('; gains are over the first (default: ce wce lmp recall)', 'per run (default: 1)'):
        assert said in text
    assert '(default: None)' not in text
    assert text.count('(default: 3)') == 1


@pytest.mark.parametrize('verb', VERBS_AND_PICTURES, ids=' '.join)
def test_every_option_is_described(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([*verb, '--help'])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f'usage: mmseg-balance {" ".join(verb)} ')
    options = re.split(r'\n(?=  \S)', text)[1:]
    assert len(options) >= 2
    assert [option for option in options if len(option.split()) < 3] == []


@pytest.mark.parametrize('verb', VERBS_AND_PICTURES, ids=' '.join)
def test_no_argument_takes_the_place_of_the_verb_s_function(verb, monkeypatch):
    declared = set()
    monkeypatch.setattr(
        LazyParser,
        'print_help',
        lambda parser: declared.update(action.dest for action in parser._actions),
    )
    with pytest.raises(SystemExit):
        main([*verb, '--help'])
    assert declared
    assert not declared & {'run', 'draw', 'measure', 'argv'}


@pytest.mark.parametrize(
    'command', ['train --cfg-options', 'plot schedule --cfg-options', 'plot paste --options']
)
def test_an_override_without_a_value_is_refused_in_a_sentence(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), 'a=1', 'mine.py'])
    assert end.value.code == 2
    assert (
        """'mine.py' has no "=": give KEY=VALUE, and name the config""" in capsys.readouterr().err
    )


def test_an_override_without_a_key_is_refused_in_a_sentence(capsys):
    with pytest.raises(SystemExit) as end:
        main(['train', 'mine.py', '--cfg-options', '=3'])
    assert end.value.code == 2
    assert "'=3' has no key: give KEY=VALUE" in capsys.readouterr().err


def test_output_that_nobody_reads_any_more_ends_without_a_traceback(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, 'w') as output:
        monkeypatch.setattr(sys, 'stdout', output)
        assert main(['doctor', '--list']) == CLOSED


def test_an_unknown_verb_is_refused_with_what_there_is(capsys):
    with pytest.raises(SystemExit) as end:
        main(['trian'])
    assert end.value.code == 2
    assert "'trian' (choose from " in capsys.readouterr().err


@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_has_a_door_in_tools(repository, verb):
    door = (repository / 'tools' / f'{verb}.py').read_text()
    assert f"main(['{verb}', *sys.argv[1:]])" in door
    assert len(door.splitlines()) < 12


@pytest.mark.requires_package('argcomplete')
@pytest.mark.parametrize(
    ('line', 'completions'),
    [('mmseg-balance cal', ['calibrate']), ('mmseg-balance train --res', ['--resume'])],
)
def test_the_shell_completes(tmp_path, line, completions):
    answers = tmp_path / 'answers'
    code = (
        'import os, sys; os.dup2(os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT), 8)\n'
        'from mmseg_balance.cli import main; main()'
    )
    variables = dict(_ARGCOMPLETE='1', _ARGCOMPLETE_IFS='\n', COMP_LINE=line)
    module('-c', code, str(answers), COMP_POINT=str(len(line)), **variables)
    assert [word.strip() for word in answers.read_text().split('\n')] == completions


@pytest.mark.parametrize(
    ('argv', 'orig_argv', 'expected'),
    [
        (['/usr/bin/mmseg-balance', 'train'], ['python'], True),
        (['-m', 'train'], ['python', '-m', 'mmseg_balance', 'train'], True),
        (['-m'], ['python', '-m', 'pytest'], False),
        (['tools/train.py'], ['python', 'tools/train.py'], False),
        ([''], ['python'], False),
    ],
)
def test_the_command_is_told_from_other_programs(monkeypatch, argv, orig_argv, expected):
    monkeypatch.setattr(sys, 'argv', argv)
    monkeypatch.setattr(sys, 'orig_argv', orig_argv)
    assert startup.is_command_line() is expected


def test_a_worker_process_of_the_command_registers(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['mmseg-balance', 'train'])
    monkeypatch.setattr(startup.multiprocessing, 'parent_process', object)
    assert not startup.is_command_line()
