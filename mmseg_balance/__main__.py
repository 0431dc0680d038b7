"""``python -m mmseg_balance VERB …``."""

import sys

from mmseg_balance.cli import main

if __name__ == '__main__':
    sys.exit(main())
