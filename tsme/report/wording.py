"""Words for what reports and messages show."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Such as "2 h 05 min", "3 min 20 s" or "7.1 s"."""
    if seconds < 60:
        return f"{max(0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
