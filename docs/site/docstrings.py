"""Our docstrings, which are reStructuredText in Google's sections, as the Markdown of the site."""

import re
from textwrap import indent

import griffe

# .. math:: and what follows it, more deeply indented or in the same paragraph.
EQUATION = re.compile(
    r'^( *)\.\. math::((?: .*)?\n(?:\1 +\S.*\n|(?=\n))*(?:\n?(?:\1 +\S.*\n))*)', re.M
)
FORMULA = re.compile(r':math:`([^`]+)`')
ROLE = re.compile(r':(?:func|class|meth|mod|data|attr|exc):`(~?)([\w.]+)`')
# A convention in a line; one with a list below it becomes a box as it is.
CONVENTION = re.compile(r'^Convention: (?=\S)', re.M)
HEADING = re.compile(r'^Example:$', re.M)
# A doctest without a heading.
DOCTEST = re.compile(r'^>>> .*\n(?:\S.*\n)*', re.M)
# `first, second: text` in Args stands for both; the text may go on in deeper lines.
SHARED = re.compile(r'^( +)(\w+(?:, \w+)+)(:.*\n(?:\1 +\S.*\n)*)', re.M)


class Docstrings(griffe.Extension):
    """Rewrites each docstring before its sections are parsed."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value, obj).rstrip()


def as_markdown(text: str, obj: griffe.Object) -> str:
    text = EQUATION.sub(_equation, text + '\n')
    text = FORMULA.sub(lambda found: f'${" ".join(found[1].split())}$', text)
    text = ROLE.sub(lambda found: _link(found[2], bool(found[1]), obj), text)
    text = SHARED.sub(_one_each, text)
    text = CONVENTION.sub('**Convention.** ', text)
    text = HEADING.sub('Examples:', text)
    return DOCTEST.sub(lambda found: 'Examples:\n' + indent(found[0], '    '), text)


def _equation(found: re.Match) -> str:
    indent, body = found[1], ' '.join(found[2].split())
    return f'{indent}\n{indent}$$\n{indent}{body}\n{indent}$$\n\n'


def _one_each(found: re.Match) -> str:
    return ''.join(f'{found[1]}{name}{found[3]}' for name in found[2].split(', '))


def _link(target: str, short: bool, obj: griffe.Object) -> str:
    """A link if the target is on the site, else the name alone."""
    if '.' not in target:
        try:
            path = obj.resolve(target)
        except griffe.NameResolutionError:
            path = target
    else:
        path = target
    shown = target.rpartition('.')[2] if short else target
    return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'
