"""``import olmoearth_nb``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Part, Result, timed


def _python(code: str) -> float:
    # The best of several: the first one reads files into the cache.
    return min(timed(lambda: subprocess.run([sys.executable, "-c", code], check=True)) for _ in range(5))


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measures it."""
    empty = _python("pass")
    seconds = _python("import olmoearth_nb") - empty
    yield Result(
        name="import olmoearth_nb", size="", part=Part(seconds=seconds, cpu=seconds, peak_mb=0.0), limit=None,
        limit_is="", target="under 0.5 s",
    )  # fmt: skip
