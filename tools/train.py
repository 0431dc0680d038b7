"""The same as ``mmseg-balance train``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
