"""Make the tables, numbers and figures of README and docs/results*.md from docs/results/*.json.

    python -m tools.make_results

Writes what stands between ``<!-- results: NAME -->`` and ``<!-- /results -->``, the figures
docs/images/{curves,differences,dev_test}_*.png, and metafile.yml. Run twice, it changes nothing.
"""

import sys
from pathlib import Path

from tools.evidence.pages import write_all

ROOT = Path(__file__).parents[1]


def main() -> int:
    try:
        changed = write_all(ROOT)
    except (ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print('\n'.join(str(path.relative_to(ROOT)) for path in changed) or 'the pages were up to date')
    return 0


if __name__ == '__main__':
    sys.exit(main())
