"""A single-file project as three files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand

__all__ = ["add_convert"]


def add_convert(command: AddCommand) -> None:
    """``convert``.

    Args:
        command: Adds it.
    """
    parser = command("convert", _convert, "olmoearth_config.yaml as dataset.json, model.yaml and olmoearth_run.yaml")
    parser.add_argument("project_path", type=Path, help="folder with olmoearth_config.yaml")
    parser.add_argument("out_dir", type=Path, help="folder for the three files; none of them may be there")


def _convert(args: argparse.Namespace) -> Any:
    from olmoearth_nb import convert_project

    return convert_project(args.project_path, args.out_dir)
