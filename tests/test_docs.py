"""What `make docs` refuses and rewrites; skips where the extra `docs` is not installed."""

import importlib.util
import re
from types import SimpleNamespace

import pytest

griffe = pytest.importorskip('griffe', reason='the extra docs is not installed')
exceptions = pytest.importorskip('mkdocs.exceptions', reason='the extra docs is not installed')
pytest.importorskip('latex2mathml', reason='the extra docs is not installed')
pytest.importorskip('nbclient', reason='the extra docs is not installed')


@pytest.fixture
def site(repository):
    def load(name):
        path = repository / 'docs' / 'site' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def package(tmp_path, losses):
    root = tmp_path / 'mmseg_balance'
    for name, text in (('', '"""Root."""'), ('losses', losses)):
        (root / name).mkdir(parents=True)
        (root / name / '__init__.py').write_text(text)
    return griffe.load('mmseg_balance', search_paths=[str(tmp_path)], try_relative_path=False)


def test_an_undocumented_public_name_is_found(site, tmp_path):
    reference = site('api_reference')
    root = package(
        tmp_path,
        '"""Losses."""\n__all__ = ["told", "untold"]\ndef told():\n    """Yes."""\n'
        'def untold(): ...\ndef private(): ...\n',
    )
    packages = reference.public_names(root)
    assert [item.name for item in packages['losses'][1]] == ['told', 'untold']
    assert list(reference.undocumented(packages)) == ['mmseg_balance.losses.untold']


def test_a_registered_component_is_public(site, tmp_path):
    root = package(
        tmp_path, '"""Losses."""\n@MODELS.register_module()\nclass Loss:\n    """Yes."""\n'
    )
    (found,) = site('api_reference').public_names(root)['losses'][1]
    assert found.name == 'Loss'


@pytest.mark.parametrize(
    ('html', 'refused'),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', True),
        ('<img alt="" src="https://example.com/x.png">', True),
        ('<a href="https://example.com">there</a><script src="assets/x.js"></script>', False),
    ],
)
def test_pages_load_nothing_from_elsewhere(site, tmp_path, html, refused):
    (tmp_path / 'index.html').write_text(html)
    build = site('self_contained').on_post_build
    config = SimpleNamespace(site_dir=str(tmp_path))
    if refused:
        with pytest.raises(exceptions.PluginError, match=r'index\.html loads from another server'):
            build(config)
    else:
        build(config)


def test_docstrings_become_markdown(site):
    text = site('docstrings').as_markdown(
        'One.\n\n.. math:: a +\n          b\n\nConvention: of :mod:`x.y`, :math:`z`.\n\n'
        'Args:\n    a, b: both,\n        on two lines.\n\nExample:\n    >>> 1\n    1\n',
        obj=None,
    )
    assert '\n$$\na + b\n$$\n' in text
    assert (
        '**Convention.** of <autoref identifier="x.y" optional><code>x.y</code></autoref>' in text
    )
    assert '$z$' in text
    assert '    a: both,\n        on two lines.\n    b: both,\n        on two lines.\n' in text
    assert '\nExamples:\n    >>> 1' in text


def test_equations_become_mathml(site):
    equations = site('equations')
    page = SimpleNamespace(file=SimpleNamespace(src_uri='page.md'))
    html = equations.on_page_content(r'<span class="arithmatex">\(p &lt; 1\)</span>', page)
    assert html.startswith('<math')
    assert 'arithmatex' not in html
    html = equations.on_page_content('<div class="arithmatex">\\[\nx = -y\n\\]</div>', page)
    assert html.startswith('<div class="equation"><math')
    assert '<mo form="prefix">' in html
    with pytest.raises(exceptions.PluginError, match=r'page\.md: cannot convert'):
        equations.on_page_content(r'<span class="arithmatex">\(\frac\)</span>', page)
    with pytest.raises(exceptions.PluginError, match=r'page\.md: .*unheard'):
        equations.on_page_content(r'<span class="arithmatex">\(\unheard x\)</span>', page)


def test_the_notebook_shows_no_progress_bars_and_warnings(site):
    module = site('notebook')
    cell = module.nbformat.v4.new_code_cell(
        outputs=[
            module.nbformat.v4.new_output('stream', name='stderr', text='a warning'),
            module.nbformat.v4.new_output(
                'stream',
                text='Rendering\n[  ] 0/2, elapsed: 0s\r[> ] 1/2, elapsed: 1s\n\nmIoU 0.5\n',
            ),
        ]
    )
    notebook = module.without_noise(module.nbformat.v4.new_notebook(cells=[cell]))
    (out,) = notebook.cells[0].outputs
    assert out.text == 'Rendering\nmIoU 0.5\n'


def test_links_of_the_notebook_lead_somewhere_in_the_repository_and_on_the_site(site, repository):
    module = site('notebook')
    notebook = module.nbformat.read(repository / module.SOURCE, as_version=4)
    text = '\n'.join(cell.source for cell in notebook.cells if cell.cell_type == 'markdown')
    for base, shown in (('examples', text), ('docs', module.with_site_links(text))):
        links = re.findall(r'\]\((\S+\.md)\)', shown)
        assert links
        assert [link for link in links if not (repository / base / link).is_file()] == []
