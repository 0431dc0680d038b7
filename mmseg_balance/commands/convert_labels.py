"""Convert the labels of SBD or SYNTHIA, as released, to the PNG files that the configs read."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mmseg-balance convert_labels``."""
    parser.add_argument('dataset', choices=['sbd', 'synthia'], help='which release')
    parser.add_argument('root', help='folder it was unpacked to, such as data/sbd')
    parser.add_argument('--nproc', type=int, default=2, help='processes (default: 2)')


def run(args: argparse.Namespace) -> None:
    """Write the PNG files, and for SYNTHIA the lists of its splits."""
    from mmseg_balance.datasets import label_conversion

    if args.nproc < 1:
        raise SystemExit(f'error: --nproc must be at least 1, got {args.nproc}')
    try:
        if args.dataset == 'sbd':
            count = label_conversion.convert_sbd(args.root, args.nproc)
        else:
            count = label_conversion.convert_synthia(args.root, args.nproc)
            splits = label_conversion.split_synthia(args.root)
            print('wrote', ', '.join(f'{name}.txt ({n} images)' for name, n in splits.items()))
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from None
    print(f'converted {count} label files below {args.root}')
