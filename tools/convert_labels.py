"""The same as ``mmseg-balance convert_labels``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main(['convert_labels', *sys.argv[1:]]))
