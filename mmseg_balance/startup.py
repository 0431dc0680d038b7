"""How this process was started."""

import multiprocessing
import sys
from pathlib import Path

COMMAND = 'mmseg-balance'


def is_command_line() -> bool:
    """Whether this process is ``mmseg-balance`` or ``python -m mmseg_balance``.

    The command registers everything after it has parsed its arguments, so that ``--help`` and shell
    completion import neither PyTorch nor MMSegmentation. A worker process has its parent's
    arguments and parses none.
    """
    if multiprocessing.parent_process() is not None:
        return False
    if sys.argv[:1] == ['-m']:  # what Python puts there until it has found the module
        return 'mmseg_balance' in sys.orig_argv
    return bool(sys.argv) and Path(sys.argv[0]).stem == COMMAND
