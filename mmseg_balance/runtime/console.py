"""Where tables are printed."""

from rich.console import Console

WIDTH_OF_FILES = 120


def wide_console() -> Console:
    """A console as wide as the terminal, or of one width where the output goes into a file."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_FILES)
