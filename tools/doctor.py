"""Say what is wrong with a config and its labels, before a GPU-hour is spent."""

import sys

import mmseg_balance  # noqa: F401  first: it makes mmseg importable
from mmseg_balance.doctor import main

if __name__ == '__main__':
    sys.exit(main())
