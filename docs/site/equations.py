"""Equations become MathML when the site is built: no script, and no file of another server.

The browser needs a font with a table of mathematical sizes. Not every system has one, so the
part of STIX Two Math that pages can need is shipped with the site.
"""

import html
import io
import re
from importlib.resources import files

from fontTools import subset
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

FONT = 'assets/math.woff'
# Latin, Greek, punctuation, arrows, operators, technical signs, and the italic alphabets.
CHARACTERS = (
    *range(0x20, 0x250),
    *range(0x370, 0x400),
    *range(0x2000, 0x2070),
    *range(0x2100, 0x2150),
    *range(0x2190, 0x2400),
    *range(0x27E0, 0x2800),
    *range(0x2A00, 0x2B00),
    *range(0x1D400, 0x1D7FF),
)
# What pymdownx.arithmatex (generic) makes of $…$ and $$…$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.S)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.S)
FUNCTION = re.compile(r'\\(?:log|exp|max|min)(?= *(?:[A-Za-z]|\\(?:pi|mathrm)))')
# In text an underscore is written as \_, which would come out as it is.
TEXT = re.compile(r'\\text(?:tt|it|bf)?\{[^}]*\}')
# A minus after an equals sign, a bracket or a comma is a sign, not a subtraction.
SIGN = re.compile(
    r'(<mo[^>]*>(?:&#x0003D;|&#x00028;|&#x0002C;)</mo>|<mspace[^>]*/>)<mo>(&#x02212;)</mo>'
)


def on_files(files: Files, config) -> Files:
    files.append(File.generated(config, FONT, content=math_font()))
    return files


def on_page_content(content: str, page, **_) -> str:
    content = DISPLAY.sub(
        lambda found: f'<div class="equation">{mathml(found[1], "block", page)}</div>', content
    )
    return INLINE.sub(lambda found: mathml(found[1], 'inline', page), content)


def mathml(escaped: str, display: str, page) -> str:
    """The MathML of LaTeX that stands escaped in a page; an equation that fails ends the build."""
    latex = html.unescape(escaped).strip()
    try:
        # TeX puts a thin space between the name of a function and a letter that follows it.
        latex = TEXT.sub(lambda found: found[0].replace(r'\_', '_'), latex)
        math = convert(FUNCTION.sub(r'\g<0>\\,', latex), display=display)
    except Exception as error:
        raise PluginError(
            f'{page.file.src_uri}: cannot convert the equation {latex!r}: '
            f'{type(error).__name__} {error}'
        ) from error
    if unknown := re.search(r'\\\w+', math):
        raise PluginError(f'{page.file.src_uri}: {unknown[0]} of {latex!r} is not understood')
    return SIGN.sub(r'\1<mo form="prefix">\2</mo>', math)


def math_font() -> bytes:
    """STIX Two Math (SIL Open Font License), as the package ziamath ships it, cut to CHARACTERS."""
    with (files('ziamath') / 'fonts' / 'STIXTwoMath-Regular.ttf').open('rb') as file:
        font = TTFont(io.BytesIO(file.read()))
    cutter = subset.Subsetter(subset.Options(layout_features=['ssty', 'dtls'], hinting=False))
    cutter.populate(unicodes=CHARACTERS)
    cutter.subset(font)
    font.flavor = 'woff'
    font.save(buffer := io.BytesIO())
    return buffer.getvalue()
