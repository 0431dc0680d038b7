"""The same as ``mmseg-balance plot``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['plot', *sys.argv[1:]]))
