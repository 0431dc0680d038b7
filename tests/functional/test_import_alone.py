"""The mathematics where only torch and NumPy are installed."""

import subprocess
import sys
import textwrap

HIDE = """
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition('.')[0] in ('mmengine', 'mmcv', 'mmseg', 'cv2'):
                raise ModuleNotFoundError(f'No module named {name!r}', name=name)

    sys.meta_path.insert(0, Hidden())
"""


def run(code: str, repository) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(HIDE) + textwrap.dedent(code)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


def test_functional_needs_torch_and_numpy_alone_and_sets_nothing(repository):
    result = run(
        """
        import warnings
        import torch
        filters, threads = list(warnings.filters), torch.get_num_threads()
        default = torch.get_default_dtype(), torch.load
        import mmseg_balance.functional
        from mmseg_balance.functional import soft_dice_loss
        assert warnings.filters == filters and torch.get_num_threads() == threads
        assert (torch.get_default_dtype(), torch.load) == default
        for name in mmseg_balance.functional.__all__:
            getattr(mmseg_balance.functional, name)
        logits = torch.zeros(1, 2, 1, 2)
        print(soft_dice_loss(logits, torch.tensor([[[0, 1]]]), power=1).item())
        others = {name.partition('.')[0] for name in sys.modules}
        print(sorted(others & {'mmengine', 'mmcv', 'mmseg', 'cv2', 'matplotlib', 'triton', 'PIL'}))
        """,
        repository,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    value, others = result.stdout.split('\n')[:2]
    assert value == '0.5'
    assert others == '[]'
    assert not result.stderr
