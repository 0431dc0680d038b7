"""What a JSON file can hold."""

import math
from typing import Any


def plain(value: Any) -> Any:
    """Turns numpy numbers and arrays into JSON's own; undefined numbers become None.

    >>> plain({'a': float('nan'), 'b': (1, 2.5)})
    {'a': None, 'b': [1, 2.5]}
    """
    if hasattr(value, 'tolist'):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
