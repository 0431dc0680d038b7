"""The same as ``mmseg-balance calibrate``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['calibrate', *sys.argv[1:]]))
