"""The same as ``mmseg-balance benchmark``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['benchmark', *sys.argv[1:]]))
