"""``runner.trace()`` of one window, once the model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import inference
from benchmarks.measure import Result, in_process, timed


def ours(folder: Path) -> float:
    """The second trace of a runner."""
    runner = inference._runner(folder / "project")
    first, second = list(runner.windows().itertuples())[:2]
    runner.trace(f"{first.group}/{first.name}")
    return timed(lambda: runner.trace(f"{second.group}/{second.name}").data)


def limit(folder: Path) -> float:
    """The forward pass of one window."""
    return inference.limit(folder, windows=1)


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measures it."""
    for name, model, size in (("small CNN, 128²", "cnn", 128), ("OlmoEarth nano, 3 dates, 64²", "nano", 64)):
        in_process("inference:make", folder, model=model, side=2, size=size)
        yield Result(
            name="trace", size=name, part=in_process("tracing:ours", folder),
            limit=in_process("tracing:limit", folder).seconds, limit_is="its forward pass", target="< 1 s",
        )  # fmt: skip
