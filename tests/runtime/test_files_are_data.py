"""Nothing of ours runs what a file says: no pickles, no eval, no shell."""

import ast
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted(
    [*(REPOSITORY / 'mmseg_balance').rglob('*.py'), *(REPOSITORY / 'tools').glob('*.py')]
)

# Functions that run code of what they read, or hand a string to a shell.
DANGEROUS = {
    'eval',
    'exec',
    'compile',
    'pickle.load',
    'pickle.loads',
    'pickle.Unpickler',
    'dill.load',
    'joblib.load',
    'marshal.loads',
    'marshal.load',
    'shelve.open',
    'yaml.load',
    'yaml.unsafe_load',
    'os.system',
    'os.popen',
    'torch.load',
    'torch.jit.load',
    'subprocess.getoutput',
}
# The reader that restricts what may be unpickled, and the one look through it.
ALLOWED = {('integrity.py', 'torch.load')}


def dotted(node: ast.expr) -> str:
    """`a.b.c` for a name or an attribute, '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f'{dotted(node.value)}.{node.attr}'
    return ''


def always_on(call: ast.Call) -> set[str]:
    """Keywords that are literally ``True``."""
    return {
        keyword.arg
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant) and keyword.value.value is True
    }


def dangers(source: str) -> list[str]:
    """What a source calls that would trust a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        switched_on = {
            keyword.arg
            for keyword in node.keywords
            if not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        }
        safe = name == 'torch.load' and 'weights_only' in always_on(node)
        found += [name] if name in DANGEROUS and not safe else []
        found += [
            f'{name}({switch}=…)' for switch in ('allow_pickle', 'shell') if switch in switched_on
        ]
        if any(
            keyword.arg == 'weights_only'
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is False
            for keyword in node.keywords
        ):
            found.append(f'{name}(weights_only=False)')
    return found


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_file_is_run(path):
    if path.name == 'checkpoints.py':
        return  # the restricted reader itself; tests/runtime/test_checkpoints.py attacks it
    assert [name for name in dangers(path.read_text()) if (path.name, name) not in ALLOWED] == []


@pytest.mark.parametrize(
    ('source', 'name'),
    [
        ('import torch\ntorch.load(path)', 'torch.load'),
        ('torch.load(path, weights_only=maybe)', 'torch.load'),
        ('np.load(path, allow_pickle=True)', 'np.load(allow_pickle=…)'),
        ('eval(text)', 'eval'),
        ('pickle.load(file)', 'pickle.load'),
        ('subprocess.run(text, shell=True)', 'subprocess.run(shell=…)'),
        ('read(path, weights_only=False)', 'read(weights_only=False)'),
    ],
)
def test_the_search_finds_what_it_looks_for(source, name):
    assert dangers(source) == [name]


def test_the_search_lets_data_pass():
    assert dangers('np.load(path, allow_pickle=False); json.loads(text); re.compile(text)') == []


def test_a_statistics_file_with_a_pickle_is_refused(tmp_path):
    from mmseg_balance.statistics import ClassStatistics

    np.savez(tmp_path / 'bad.npz', pixels=np.array([print], dtype=object))
    with pytest.raises(ValueError, match='bad.npz'):
        ClassStatistics.load(tmp_path / 'bad.npz')
