"""``python -m mmseg_balance.benchmarking.gpu_report``."""

import sys

from mmseg_balance.benchmarking.gpu_report.report import main

if __name__ == '__main__':
    sys.exit(main())
