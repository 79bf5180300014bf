"""Older spellings of a project's configuration, shown and written anew."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand

__all__ = ["add_upgrade"]


def add_upgrade(command: AddCommand) -> None:
    """``upgrade``.

    Args:
        command: Adds it.
    """
    parser = command("upgrade", _upgrade, "write older spellings of model.yaml and dataset.json as those of today")
    parser.add_argument("project_path", nargs="?", type=Path, default=Path(), help="project folder (default: this one)")
    parser.add_argument("--yes", action="store_true", help="write without asking; copies are kept as .bak")
    parser.add_argument("--dry-run", action="store_true", help="only show the difference")


def _upgrade(args: argparse.Namespace) -> Any:
    from olmoearth_nb import upgrade_project

    upgrade = upgrade_project(args.project_path)
    if upgrade and not args.dry_run and (args.yes or _confirmed(upgrade, asks=not args.json)):
        upgrade.write()
    return upgrade


def _confirmed(upgrade: object, *, asks: bool) -> bool:
    if not asks or not sys.stdin.isatty():
        return False
    sys.stderr.write(f"{upgrade}\n\nWrite this (copies are kept as .bak)? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
