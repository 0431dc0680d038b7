"""The same as ``mmseg-balance class_stats``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['class_stats', *sys.argv[1:]]))
