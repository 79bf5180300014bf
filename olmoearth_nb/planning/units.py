"""Amounts and durations as people read them."""

from __future__ import annotations

__all__ = ["amount", "duration", "readable_bytes"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def readable_bytes(count: float) -> str:
    """Bytes in powers of 1000, three digits.

    Args:
        count: How many.
    """
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """``12 s``, ``3 min``, ``5.1 h`` or ``12 days``.

    Args:
        seconds: How long.
    """
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 10 * 86_400:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 86_400:,.0f} days"


def amount(value: float, unit: str) -> str:
    """A number with its unit: bytes and hours as people read them.

    Args:
        value: The number.
        unit: ``bytes``, ``hours``, or what is counted.
    """
    match unit:
        case "bytes":
            return readable_bytes(value)
        case "hours":
            return duration(value * 3600)
        case _:
            return f"{value:,.0f} {unit}"
