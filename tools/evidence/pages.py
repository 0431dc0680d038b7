"""Puts the blocks into the pages, and finds numbers in prose that no block has."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.evidence import sections
from tools.evidence.figures import draw, draw_summary
from tools.evidence.store import Study, load_studies
from tools.evidence.zoo import metafile

PAGES = (
    'README.md',
    'docs/results.md',
    'docs/results_screening.md',
    'docs/results_claims.md',
    'docs/results_details.md',
)
BLOCK = re.compile(r'(<!-- results: ([\w-]+) -->\n).*?(<!-- /results -->)', re.DOTALL)
NUMBER = re.compile(r'(?<![\w.])[+−]?\d+\.\d+(?![\w.]*\d)')
README_SECTION = ('## Which loss', '## ')


def with_blocks(text: str, studies: Sequence[Study], page: str = '') -> str:
    """The text with every ``<!-- results: NAME -->`` … ``<!-- /results -->`` filled from the studies.

    Raises:
        ValueError: no block of that name, or one that does not end.
    """

    def block(match: re.Match) -> str:
        name = match[2]
        if name not in sections.BLOCKS:
            raise ValueError(f'{page}: no block {name!r}; there are {", ".join(sections.BLOCKS)}.')
        return f'{match[1]}\n{sections.BLOCKS[name](studies)}\n\n{match[3]}'

    done = BLOCK.sub(block, text)
    if text.count('<!-- results:') != len(BLOCK.findall(text)):
        raise ValueError(f'{page}: a block has no <!-- /results -->.')
    return done


def made(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file of text that ``make results`` writes, and what it shall be."""
    studies = load_studies(root / 'docs' / 'results')
    for page in PAGES:
        path = root / page
        yield path, with_blocks(path.read_text(encoding='utf-8'), studies, page)
    yield root / 'metafile.yml', metafile(studies)


def write_all(root: Path) -> list[Path]:
    """Write pages, metafile and figures; returns the text files that changed."""
    changed = []
    for path, text in list(made(root)):
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')
            changed.append(path)
    studies = load_studies(root / 'docs' / 'results')
    for study in studies:
        draw(study, root / 'docs' / 'images')
    if shown := sections.in_headline(studies):
        draw_summary(shown, root / 'docs' / 'images')
    return changed


def evidence_of(readme: str) -> str:
    """The part of README that says what was measured."""
    start, end = README_SECTION
    after = readme[readme.index(start) + len(start) :]
    return after[: after.index(f'\n{end}')]


def numbers_in_blocks(texts: Sequence[str]) -> set[str]:
    """All decimal numbers of the blocks, without their signs."""
    blocks = ' '.join(match[0] for text in texts for match in BLOCK.finditer(text))
    return {number.lstrip('+−') for number in NUMBER.findall(blocks)}


def numbers_of_nothing(text: str, known: set[str]) -> list[str]:
    """Decimal numbers of the prose around the blocks that are not known."""
    prose = BLOCK.sub('', text)
    return [number for number in NUMBER.findall(prose) if number.lstrip('+−') not in known]
