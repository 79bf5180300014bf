"""A benchmark: its name, what it does, and what its limit is; measured in processes of their own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

Work: TypeAlias = Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One measured function in one process.

    Attributes:
        seconds: Wall time.
        cpu: CPU time of the process and its children.
        peak_mb: Largest resident memory of the process, 10^6 bytes.
    """

    seconds: float
    cpu: float
    peak_mb: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a benchmark gave.

    Attributes:
        name: Of the benchmark.
        size: How much work.
        part: Ours.
        limit: The limit, None where there is none.
        limit_is: What the limit does.
        target: What is to be reached, in words.
        against: Seconds of olmoearth-runner for the same work, if it was asked.
    """

    name: str
    size: str
    part: Part
    limit: float | None
    limit_is: str
    target: str
    against: float | None = None

    def row(self) -> tuple[str, ...]:
        """The result as a line of the table."""
        limit = "" if self.limit is None else f"{self.limit:.2f}"
        ratio = "" if self.limit is None else f"{self.part.seconds / self.limit:.2f}"
        against = "" if self.against is None else f"{self.against:.1f} ({self.against / self.part.seconds:.0f}×)"
        seconds, peak = f"{self.part.seconds:.2f}", f"{self.part.peak_mb:.0f}"
        return self.name, self.size, seconds, limit, ratio, peak, self.target, against

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self)


COLUMNS = ("benchmark", "size", "s", "limit s", "ratio", "peak MB", "to reach", "olmoearth-runner s")


def timed(work: Callable[[], Any]) -> float:
    """Seconds of wall time that a call takes.

    Args:
        work: The call.
    """
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_process(function: str, folder: Path, **arguments: Any) -> Part:
    """Runs ``module:function(folder, **arguments)`` of this package in a process of its own.

    What it returns, if a number, is taken for its seconds; else the whole call is.

    Args:
        function: Module and name, ``partition:ours``.
        folder: Where it works.
        **arguments: Values that JSON takes.
    """
    call = [sys.executable, "-m", "benchmarks.measure", function, str(folder), json.dumps(arguments)]
    done = subprocess.run(call, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{function} {arguments} failed:\n{done.stderr[-3000:]}")
    return Part(**json.loads(done.stdout.strip().splitlines()[-1]))


def other(python: str, script: str, *arguments: object) -> float:
    """Seconds that a script of ``benchmarks/against`` reports, run by another interpreter.

    Args:
        python: An interpreter of an environment with olmoearth-runner.
        script: Name of the script.
        *arguments: Its arguments.
    """
    path = Path(__file__).parent / "against" / script
    done = subprocess.run([python, str(path), *map(str, arguments)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-3000:]}")
    return float(done.stdout.strip().splitlines()[-1])


def _peak() -> int:
    """Largest resident memory of this process in kB, without that of the process that started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def _main(function: str, folder: str, arguments: str) -> None:
    import importlib

    module, _, name = function.partition(":")
    work = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    start, cpu = time.perf_counter(), time.process_time()
    found = work(Path(folder), **json.loads(arguments))
    seconds = found if isinstance(found, float) else time.perf_counter() - start
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = max(_peak(), children.ru_maxrss)
    spent = time.process_time() - cpu + children.ru_utime + children.ru_stime
    print(json.dumps(asdict(Part(seconds=seconds, cpu=spent, peak_mb=peak * 1024 / 1e6))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
