"""Short names for values: equal values have equal names, on every machine."""

from __future__ import annotations

import hashlib
import json


def digest(value: object, digits: int = 10) -> str:
    """Hexadecimal digits (of SHA-256) that name a value.

    The value is made of dictionaries, lists, tuples, numbers, strings and None; the order of keys does
    not matter. Anything else is named by its str().
    """
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
