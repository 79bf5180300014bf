"""Windows of a dataset: a folder each, or SQLite."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand

__all__ = ["add_migrate"]


def add_migrate(command: AddCommand) -> None:
    """``migrate``.

    Args:
        command: Adds it.
    """
    parser = command("migrate", _migrate, "move the windows of a scratch into SQLite, or back into folders")
    parser.add_argument("scratch_path", type=Path, help="scratch of either workflow, or an rslearn dataset")
    parser.add_argument("--to", choices=("sqlite", "files"), required=True, help="where the windows shall be")


def _migrate(args: argparse.Namespace) -> Any:
    from olmoearth_nb import migrate_windows

    return migrate_windows(args.scratch_path, args.to)
