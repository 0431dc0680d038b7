"""The same as ``mmseg-balance doctor``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['doctor', *sys.argv[1:]]))
