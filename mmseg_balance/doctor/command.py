"""Say what is wrong with a config and its labels, before a GPU-hour is spent."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmseg_balance.doctor.checks import markdown_table
from mmseg_balance.doctor.examination import Examination, examine
from mmseg_balance.doctor.findings import count
from mmseg_balance.doctor.fixes import fixed_config
from mmseg_balance.doctor.page import write_page
from mmseg_balance.doctor.terminal import findings_table, imbalance_table, summary
from mmseg_balance.experiments.progress import number_of
from mmseg_balance.experiments.results import write_json
from mmseg_balance.runtime.atomic_files import check_output, write_text
from mmseg_balance.runtime.console import wide_console

DEFAULT_PAGE = Path('work_dirs', 'doctor')
SUFFIXES = {'--json': ['.json'], '--html': ['.html', '.htm'], '--fix': ['.py']}


def run(args: argparse.Namespace) -> int:
    """Examine, print, write; 1 if there is an error among the findings, else 0."""
    if args.list:
        print(markdown_table())
        return 0
    if not args.config:
        raise SystemExit('error: give a config, or --list')
    if args.gpus is not None and args.gpus < 1:
        raise SystemExit(f'error: --gpus must be at least 1 (as for a CPU), got {args.gpus}')
    page = args.html or DEFAULT_PAGE / Path(args.config).stem / 'doctor.html'
    _check_outputs(args.config, {'--json': args.json, '--html': page, '--fix': args.fix})
    examination = examine(
        args.config,
        args.cfg_options,
        args.gpus,
        labels=not args.no_labels,
        progress=not args.quiet and sys.stderr.isatty(),
    )
    console = wide_console()
    console.print(findings_table(examination.findings))
    imbalance = imbalance_table(examination)
    if imbalance is not None:
        console.print(imbalance)
    console.print(summary(examination.findings))
    try:
        for line in _write(args, page, examination):
            console.print(line, highlight=False)
    except OSError as error:
        raise SystemExit(f'error: {error}') from None
    return 1 if examination.num_errors else 0


def _check_outputs(config: str, outputs: Mapping[str, Path | None]) -> None:
    """See, before the examination, that what it finds can be written."""
    try:
        for option, file in outputs.items():
            if file:
                check_output(option, file, SUFFIXES[option], {'config': config})
    except ValueError as error:
        raise SystemExit(f'error: {error}') from None


def _write(args: argparse.Namespace, page: Path, examination: Examination) -> Sequence[str]:
    lines = []
    if args.json:
        findings = [one.to_dict() for one in examination.findings]
        write_json(
            args.json,
            dict(config=args.config, counts=count(examination.findings), findings=findings),
        )
        lines.append(f'wrote {args.json}')
    write_page(page, examination, args.config)
    lines.append(f'wrote {page}')
    if args.fix and examination.reading:
        text, made = fixed_config(
            examination.reading.config, examination.findings, args.config, args.fix
        )
        if made:
            write_text(args.fix, text)
            changes = number_of(len(made), 'change')
            lines.append(f'wrote {args.fix} with {changes}; the others are yours')
        else:
            lines.append(f'{args.fix} is not written: no change is safe to make unseen')
    return lines
