"""``python -m benchmarks [NAME …] [--against PYTHON] [--json FILE] [--large]``."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import tempfile
from pathlib import Path

from benchmarks.measure import COLUMNS, Result

NAMES = (
    "imports",
    "partition",
    "labels",
    "listing",
    "building",
    "inference",
    "prediction",
    "duplicates",
    "combining",
    "maps",
    "tracing",
)


def main() -> None:
    """Runs benchmarks and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--against", metavar="PYTHON", help="interpreter of an environment with olmoearth-runner 0.1.14"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    parser.add_argument("--large", action="store_true", help="ten times the sizes, where that is of interest")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="benchmarks_") as everything:
        for name in args.names or NAMES:
            module = importlib.import_module(f"benchmarks.{name}")
            folder = Path(everything) / name
            folder.mkdir()
            for result in module.run(folder, against=args.against, large=args.large):
                results.append(result)
                print("  ".join(result.row()), flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    print(f"\n{today}, {machine}\n\n{_table(results)}")
    if args.json:
        found = {"date": today, "machine": machine, "results": [result.to_dict() for result in results]}
        args.json.write_text(json.dumps(found, indent=2) + "\n")


def _table(results: list[Result]) -> str:
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *(result.row() for result in results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
