"""The same as ``mmseg-balance screen``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['screen', *sys.argv[1:]]))
