"""New projects from labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand

__all__ = ["add_new"]

_TASKS = ("segmentation", "classification", "regression", "per-pixel-regression")
_CHOICES = ("column", "label_name", "start_time", "end_time", "window_size", "resolution", "grid_size", "epochs")


def add_new(command: AddCommand) -> None:
    """``new``.

    Args:
        command: Adds it.
    """
    parser = command("new", _new, "a complete project from a file of labels")
    parser.add_argument("directory", type=Path, metavar="DIR", help="folder of the project; empty, or not there")
    parser.add_argument(
        "--from", dest="labels", type=Path, required=True, help="vector file, or table with lon and lat"
    )
    parser.add_argument("--task", required=True, choices=_TASKS, help="what the model shall say")
    parser.add_argument(
        "--source",
        default="sentinel2",
        help="sentinel2, sentinel1, landsat, or local:GLOB, in quotes (default: sentinel2)",
    )
    parser.add_argument("--encoder", help="olmoearth-nano, -tiny, -small, -base or unet (default: as fits the source)")
    parser.add_argument("--sample", type=int, metavar="N", help="build the imagery of N windows, to look at first")
    parser.add_argument("--dry-run", action="store_true", help="show the proposal, write nothing")
    parser.add_argument(
        "--column", "--class-column", "--value-column", dest="column", help="column of the class or value"
    )
    parser.add_argument("--label-name", help="name of the label and of the result's property")
    parser.add_argument("--start-time", help="of all labels: ISO 8601, UTC without a zone")
    parser.add_argument("--end-time", help="the same")
    parser.add_argument("--window-size", type=int, help="width and height of the windows, pixels")
    parser.add_argument("--resolution", type=float, help="metres a pixel")
    parser.add_argument("--grid-size", type=int, help="pixels: windows in a cell of this width come into one split")
    parser.add_argument("--epochs", type=int, help="passes over the training windows")
    parser.add_argument("--layer", help="layer of a file that has several")
    parser.add_argument("--crs", help="CRS of a file that does not say, EPSG:4326 say")


def _new(args: argparse.Namespace) -> Any:
    from olmoearth_nb import new_project, propose_project

    choices = {name: getattr(args, name) for name in (*_CHOICES, "layer", "crs") if getattr(args, name) is not None}
    if args.dry_run:
        return propose_project(
            args.labels,
            task=args.task,
            source=args.source,
            encoder=args.encoder,
            project_dir=args.directory,
            **choices,
        )
    return new_project(
        args.directory,
        args.labels,
        task=args.task,
        source=args.source,
        encoder=args.encoder,
        sample=args.sample,
        progress=True,
        **choices,
    )
