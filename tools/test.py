"""The same as ``mmseg-balance test``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
