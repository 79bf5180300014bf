"""Annotation files from other files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand

__all__ = ["add_annotations"]


def add_annotations(command: AddCommand) -> None:
    """``annotations``.

    Args:
        command: Adds it.
    """
    parser = command("annotations", _annotations, "annotation files from any vector file")
    parser.add_argument("source", type=Path, help="any vector file that geopandas reads")
    parser.add_argument("out_dir", type=Path, help="folder for the two annotation files")
    parser.add_argument("--class-column", required=True, help="column with the class or value")
    parser.add_argument("--start-time", required=True, help="ISO 8601, UTC without a zone")
    parser.add_argument("--end-time", required=True, help="ISO 8601, UTC without a zone")
    parser.add_argument("--task-column", help="column that says which features make one task")
    parser.add_argument("--task-size-pixels", type=int, help="side of the square around each feature that is its task")
    parser.add_argument("--resolution", type=float, default=10.0, help="metres a pixel (default: 10)")
    parser.add_argument("--label-name", default="label", help="name of the label (default: label)")
    parser.add_argument("--layer", help="layer of a file that has several")
    parser.add_argument("--crs", help="CRS of a file that does not say, EPSG:4326 say")


def _annotations(args: argparse.Namespace) -> Any:
    from olmoearth_nb import make_annotations

    return make_annotations(
        args.source,
        args.out_dir,
        class_column=args.class_column,
        task_column=args.task_column,
        task_size_pixels=args.task_size_pixels,
        resolution=args.resolution,
        start_time=args.start_time,
        end_time=args.end_time,
        label_name=args.label_name,
        layer=args.layer,
        crs=args.crs,
    )
