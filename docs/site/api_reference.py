"""A page for each package with every public name, from the docstrings; one without fails.

Public is what a package lists in ``__all__``, and every registered component.
"""

from collections.abc import Iterator

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

PACKAGE = 'mmseg_balance'
FIRST = ('losses', 'functional', 'hooks', 'samplers', 'transforms', 'metrics', 'datasets')


def on_config(config):
    packages = public_names(griffe.load(PACKAGE, search_paths=['.']))
    if missing := sorted(undocumented(packages)):
        raise PluginError('public names without a docstring: ' + ', '.join(missing))
    config.extra['api_pages'] = {
        f'api/{name}.md': page(package, names) for name, (package, names) in packages.items()
    }
    pages = [{name: f'api/{name}.md'} for name in packages]
    config.nav = [
        {'API reference': [{'Overview': 'api/index.md'}, *pages]}
        if 'API reference' in entry
        else entry
        for entry in config.nav
    ]
    config.extra['api_pages']['api/index.md'] = overview(packages)
    return config


def on_files(files: Files, config) -> Files:
    for uri, content in config.extra.pop('api_pages').items():
        files.append(File.generated(config, uri, content=content))
    return files


def public_names(root: griffe.Module) -> dict[str, tuple[griffe.Module, list[griffe.Object]]]:
    """Each package that has public names: the package and its names, in the order of the pages."""
    found = {}
    for name, member in root.members.items():
        if member.is_alias or not member.is_module or name.startswith('_'):
            continue
        names = listed(member)
        names += [item for item in registered(member) if item not in names]
        if names:
            found[name] = (member, names)
    order = {name: position for position, name in enumerate(FIRST)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(FIRST)), item[0])))


def listed(package: griffe.Module) -> list[griffe.Object]:
    """What ``__all__`` says, where it is defined."""
    return [
        package.members[str(name)].final_target
        if package.members[str(name)].is_alias
        else package.members[str(name)]
        for name in package.exports or ()
    ]


def registered(package: griffe.Module) -> Iterator[griffe.Class]:
    """Classes with a ``register_module`` decorator: what a config can name."""
    for member in package.members.values():
        if member.is_alias:
            continue
        if member.is_module:
            yield from registered(member)
        elif member.is_class and any(
            'register_module' in str(decorator.value) for decorator in member.decorators
        ):
            yield member


def undocumented(packages: dict) -> Iterator[str]:
    for package, names in packages.values():
        yield from (item.path for item in (package, *names) if not item.has_docstring)


def page(package: griffe.Module, names: list[griffe.Object]) -> str:
    """One package: its names under the modules that define them, with the modules' conventions."""
    modules: dict[str, list[griffe.Object]] = {}
    for item in names:
        modules.setdefault(item.module.path, []).append(item)
    parts = [
        f'# {package.path}\n',
        f'::: {package.path}\n    options: {{show_root_heading: false, '
        'show_root_toc_entry: false, members: false, heading_level: 2}\n',
    ]
    for path, items in modules.items():
        title = path.removeprefix(package.path).strip('.') or package.name
        parts.append(f'\n## {title.replace("_", " ")}\n')
        if path != package.path:
            parts.append(
                f'\n::: {path}\n    options: {{show_root_heading: false, '
                'show_root_toc_entry: false, members: false, heading_level: 3}\n'
            )
        parts.extend(f'\n::: {item.path}\n' for item in items)
    return ''.join(parts)


def overview(packages: dict) -> str:
    lines = [
        '# API reference\n',
        'Every public name, from its docstring.\n',
        '| package | names |',
        '|---|---|',
    ]
    for name, (package, names) in packages.items():
        links = ' '.join(f'[`{item.name}`][{item.path}]' for item in names)
        lines.append(f'| [{package.path}]({name}.md) | {links} |')
    return '\n'.join(lines) + '\n'
