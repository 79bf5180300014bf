"""Vector results in another format."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand, predict_runner, project_arguments, request_arguments

__all__ = ["add_export"]


def add_export(command: AddCommand) -> None:
    """``export``.

    Args:
        command: Adds it.
    """
    one = command("export", _export, "the combined vector result as GeoParquet, FlatGeobuf, GeoPackage or PMTiles")
    project_arguments(one)
    request_arguments(one)
    one.add_argument("--to", type=Path, required=True, help="file: .parquet, .fgb, .gpkg, .pmtiles or .geojson")
    one.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def _export(args: argparse.Namespace) -> Any:
    return predict_runner(args).result().export(args.to, overwrite=args.overwrite)
