"""A page that would load anything from another server fails the build."""

import re
from pathlib import Path

from mkdocs.exceptions import PluginError

LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(https?:)?//[^>]*>"""
    r"""|<link\b(?=[^>]*rel=["']?(?:stylesheet|preload|preconnect|icon))[^>]*"""
    r"""href=["']?(https?:)?//[^>]*>|@import[^;]*//"""
)


def on_post_build(config) -> None:
    for page in sorted(Path(config.site_dir).rglob('*.html')):
        if found := LOADED.search(page.read_text(encoding='utf-8')):
            raise PluginError(f'{page.name} loads from another server: {found[0][:120]}')
