"""Commands in README and docs: their verbs, options, losses, files and make targets exist."""

import re
import shlex
from pathlib import Path

import pytest

from mmseg_balance.cli import make_parser
from mmseg_balance.experiments.plan import find_ingredient

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    'README.md',
    'CONTRIBUTING.md',
    *sorted(f'docs/{p.name}' for p in REPOSITORY.glob('docs/*.md')),
]
BLOCK = re.compile(r'^```bash\n(.*?)^```', re.M | re.S)
INLINE = re.compile(r'`((?:mmseg-balance|make|python|bash|pip) [^`]+)`')
OWN = ('mine', 'my_')  # files of the reader's own


def commands(page: str) -> list[tuple[str, bool]]:
    """Each command of a page, and whether all of its arguments are there."""
    text = (REPOSITORY / page).read_text()
    lines = []
    for block in BLOCK.findall(text):
        lines += [(line, True) for line in block.replace('\\\n', ' ').splitlines()]
    lines += [(' '.join(line.split()), False) for line in INLINE.findall(text)]
    return [(line, whole) for line, whole in lines if line.strip() and '{' not in line]


def words(line: str) -> list[str]:
    """The words of a command without comment and settings of variables in front."""
    found = shlex.split(line, comments=True)
    while found and re.fullmatch(r'[A-Z_]+=.*', found[0]):
        found = found[1:]
    return [word for word in found if word != '…']


ALL = [(page, *command) for page in PAGES for command in commands(page)]


def test_there_are_commands():
    assert len([line for _, line, _ in ALL if line.startswith('mmseg-balance')]) > 60


def refusal(argv: list[str], capsys) -> str:
    """What the command says against its arguments; '' where they are right."""
    try:
        make_parser().parse_args(argv)
    except SystemExit as end:
        return capsys.readouterr().err if end.code else ''
    return ''


@pytest.mark.parametrize('page', PAGES)
def test_verbs_and_options_exist(page, capsys):
    for _, line, whole in (one for one in ALL if one[0] == page):
        found = words(line)
        if found[:1] != ['mmseg-balance'] or 'VERB' in found:
            continue
        said = refusal(found[1:], capsys)
        if not whole or '…' in line:  # some arguments may be left to the reader
            said = '' if 'are required' in said or 'expected' in said else said
        assert said == '', f'{page}: {line}'


@pytest.mark.parametrize('page', PAGES)
def test_what_a_command_names_exists(page):
    targets = re.findall(r'^([\w-]+):', (REPOSITORY / 'Makefile').read_text(), re.M)
    for _, line, _ in (one for one in ALL if one[0] == page):
        found = words(line)
        if found[:1] == ['make']:
            assert {word for word in found[1:] if '=' not in word} <= set(targets), line
        for word in found:
            if word.startswith(('configs/', 'tools/', 'examples/')) and 'VERB' not in word:
                own = any(part in word for part in OWN)
                assert own or (REPOSITORY / word).exists(), f'{page}: {line}'
        for kind in ('losses', 'samplers'):
            for name in given(found, f'--{kind}'):
                if name != 'all' and not name.startswith(OWN):
                    find_ingredient(name, kind, [REPOSITORY / 'configs'])


def given(found: list[str], option: str) -> list[str]:
    """The values of an option."""
    if option not in found:
        return []
    rest = found[found.index(option) + 1 :]
    ends = [i for i, word in enumerate(rest) if word.startswith('--')]
    return rest[: ends[0]] if ends else rest


@pytest.mark.parametrize('page', PAGES)
def test_the_package_is_installed_from_a_clone_or_a_wheel(page):
    """It is not on PyPI: its name alone installs nothing."""
    for _, line, whole in (one for one in ALL if one[0] == page):
        found = words(line)
        if whole and found[:2] == ['pip', 'install']:
            assert not [word for word in found if word.startswith('mmseg_balance')], line
