"""Which loss, sampler and decision for my data? Train only the decode head of a checkpoint."""

import argparse
import sys

import mmseg_balance  # noqa: F401  first: it makes mmseg importable
from mmseg_balance.experiments.screen.arguments import add_arguments
from mmseg_balance.experiments.screen.command import run

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
