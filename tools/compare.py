"""The same as ``mmseg-balance compare``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['compare', *sys.argv[1:]]))
