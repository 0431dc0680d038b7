"""The notebook, run from top to bottom, as a page with its outputs; a cell that fails ends the build.

What was run is kept in work_dirs/notebook until the notebook, the package or the configs change.
"""

import hashlib
import re
from pathlib import Path

import nbformat
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter

SOURCE = Path('examples/rare_class.ipynb')
PAGE = 'notebook.md'
KEPT = Path('work_dirs/notebook/executed.ipynb')
DEPENDS_ON = ('mmseg_balance/**/*.py', 'configs/**/*.py')
SECONDS_PER_CELL = 1800
NOISE = re.compile(r', elapsed: |- mmengine - |^Loads checkpoint')


def on_files(files: Files, config) -> Files:
    body, resources = MarkdownExporter().from_notebook_node(without_noise(executed()))
    files.append(File.generated(config, PAGE, content=with_site_links(body)))
    for name, content in resources['outputs'].items():
        files.append(File.generated(config, name, content=content))
    return files


def with_site_links(body: str) -> str:
    """The notebook lies in examples/, its page beside the others.

    >>> with_site_links('[results](../docs/results.md)')
    '[results](results.md)'
    """
    return body.replace('](../docs/', '](')


def executed() -> nbformat.NotebookNode:
    """The notebook with its outputs, run now unless it was run as it is."""
    digest = fingerprint()
    if KEPT.exists():
        kept = nbformat.read(KEPT, as_version=4)
        if kept.metadata.get('fingerprint') == digest:
            return kept
    notebook = nbformat.read(SOURCE, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name='python3',
        resources={'metadata': {'path': '.'}},
        on_cell_start=lambda cell, cell_index: print(
            f'Notebook: cell {cell_index + 1} of {len(notebook.cells)}', flush=True
        ),
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise PluginError(f'{SOURCE}: {error}') from error
    notebook.metadata['fingerprint'] = digest
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, KEPT)
    return notebook


def without_noise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without the warnings and log lines of other libraries, and without progress bars.

    A progress bar is an output for each of its steps.
    """
    for cell in (cell for cell in notebook.cells if cell.cell_type == 'code'):
        for out in (out for out in cell.outputs if out.output_type == 'stream'):
            lines = out.text.splitlines(keepends=True)  # also at a carriage return
            out.text = ''.join(line for line in lines if line.strip() and not NOISE.search(line))
        cell.outputs = [
            out
            for out in cell.outputs
            if out.output_type != 'stream' or (out.name == 'stdout' and out.text)
        ]
    return notebook


def fingerprint() -> str:
    digest = hashlib.sha256(SOURCE.read_bytes())
    for path in sorted(path for pattern in DEPENDS_ON for path in Path().glob(pattern)):
        digest.update(path.as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
