"""The kernels compile for GPUs that are not here, and the compiler's output got no worse."""

import json
import os
import subprocess
import sys

import pytest

from mmseg_balance.benchmarking import compiled_kernels
from mmseg_balance.functional.backend import TRITON_USABLE

pytestmark = pytest.mark.skipif(not TRITON_USABLE, reason='needs Triton')
KERNELS = {
    'nll_forward',
    'nll_backward',
    'overlap_forward',
    'overlap_backward',
    'cells_backward',
    'label_sums',
    'search',
    'weights',
}


@pytest.mark.parametrize('capability', ['80', '90', '100'])
def test_the_compiler_gives_what_the_table_says(capability, tmp_path, repository):
    """All cases for 9.0, two for the others, against docs/benchmarks/kernels.json."""
    environment = {
        **os.environ,
        'MMSEG_BALANCE_BACKEND': 'triton',
        'TRITON_CACHE_DIR': str(tmp_path),
    }
    environment.pop('TRITON_INTERPRET', None)
    call = ['-m', 'mmseg_balance.benchmarking.compiled_kernels', '--capability', capability]
    result = subprocess.run(
        [sys.executable, *call, *['--quick'] * (capability != '90')],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout)
    names = {row['kernel'] for row in found}
    assert names == KERNELS if capability == '90' else len(names) == 4
    table = json.loads((repository / 'docs/benchmarks/kernels.json').read_text())
    if table['versions'] != compiled_kernels.versions():
        pytest.skip(f'the table is of {table["versions"]}; another compiler has other numbers')
    assert compiled_kernels.worse(found, table['capabilities'][capability]) == []


def test_what_is_worse_is_named():
    limit = {'kernel': 'k', 'case': 'c', 'registers': 60, 'spilled B': 0, 'B / load': 16.0}
    limit.update({'shared B': 0, 'barriers': 2, 'passes': 1, 'B / store': 16.0})
    assert compiled_kernels.worse([limit], [limit]) == []
    for key, value in {
        'registers': 65,
        'spilled B': 8,
        'shared B': 1024,
        'barriers': 3,
        'passes': 2,
        'B / load': 4.0,
    }.items():
        (problem,) = compiled_kernels.worse([{**limit, key: value}], [limit])
        assert problem.startswith(f'k, c: {key} ')
    (problem,) = compiled_kernels.worse([{**limit, 'case': 'new'}], [limit])
    assert 'no limit' in problem
