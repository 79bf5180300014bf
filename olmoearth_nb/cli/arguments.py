"""Options that several commands have, and the runners they make."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from olmoearth_nb.archive import SUFFIX, is_archive

if TYPE_CHECKING:
    from olmoearth_nb.runners.finetune import OlmoEarthRunFineTuneRunner
    from olmoearth_nb.runners.predict import OlmoEarthRunPredictRunner

__all__ = [
    "AddCommand",
    "Command",
    "engine_arguments",
    "finetune_runner",
    "output_arguments",
    "partition_ids",
    "predict_runner",
    "project_arguments",
    "random_weights_argument",
    "request_arguments",
]

Command: TypeAlias = Callable[[argparse.Namespace], Any]
"""What a command does: its result shows itself, and says how it went by ``ok``."""


class AddCommand(Protocol):
    """Adds a command to ``olmoearth-nb``; each module of this package has a function that is given this."""

    def __call__(self, name: str, call: Command, text: str) -> argparse.ArgumentParser:
        """Adds a command.

        Args:
            name: What it is called by.
            call: What it does.
            text: Its help.

        Returns:
            The parser for its arguments.
        """
        ...


def project_arguments(parser: argparse.ArgumentParser) -> None:
    """The project, its scratch and the device.

    Args:
        parser: Of a command.
    """
    parser.add_argument(
        "project_path", nargs="?", type=Path, default=Path(), help="project folder or bundle (default: here)"
    )
    parser.add_argument(
        "--scratch-path",
        type=Path,
        help="default: PROJECT/scratches/ (of a bundle: beside it) and the request's name, or finetune",
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    parser.set_defaults(
        request_geometry_path=None,
        checkpoint_path=None,
        random_weights=False,
        mask_path=None,
        mask_valid_values=[1],
    )


def request_arguments(parser: argparse.ArgumentParser) -> None:
    """The request, the checkpoint and the mask of a prediction.

    Args:
        parser: Of a command.
    """
    parser.add_argument("--request-geometry-path", type=Path, help="the request (default: the project's)")
    parser.add_argument("--checkpoint-path", type=Path, help="the checkpoint (default: the project's)")
    random_weights_argument(parser, "random weights in place of a checkpoint: to try a project without one")
    parser.add_argument("--mask-path", type=Path, help="GeoTIFF, GeoJSON or folder: only its valid area is predicted")
    parser.add_argument("--mask-valid-values", type=numbers, default=[1], help="valid values of a raster mask: 1,2")


def engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the work is done.

    Args:
        parser: Of a command.
    """
    parser.add_argument(
        "--engine", help="serial, processes or dask (default: this process; processes if --workers is given)"
    )
    parser.add_argument("--workers", type=int, help="worker processes on this machine (default: one a core, at most 8)")
    parser.add_argument("--address", help="a running Dask scheduler: tcp://10.0.0.1:8786")
    parser.add_argument("--threads", type=int, default=1, help="threads of each worker's model on a CPU (default: 1)")


def random_weights_argument(parser: argparse.ArgumentParser, text: str) -> None:
    """Weights that are neither fetched nor trained.

    Args:
        parser: Of a command.
        text: Its help.
    """
    parser.add_argument("--random-weights", action="store_true", help=text)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def output_arguments(parser: argparse.ArgumentParser) -> None:
    """How results and errors are printed.

    Args:
        parser: Of a command.
    """
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--verbose", action="store_true", help="print the traceback of an error")


def predict_runner(args: argparse.Namespace) -> OlmoEarthRunPredictRunner:
    """The runner of a prediction.

    Args:
        args: Of a command with the arguments of a project and of a request.
    """
    from olmoearth_nb import BuildOptions, OlmoEarthRunPredictRunner, Project

    request = args.request_geometry_path
    if args.scratch_path is None:
        name = Path(request).stem if request else Project(args.project_path).request().stem
        args.scratch_path = _scratches(args.project_path) / name
    return OlmoEarthRunPredictRunner(
        args.project_path,
        args.scratch_path,
        request,
        args.checkpoint_path,
        random_weights=args.random_weights,
        mask_path=args.mask_path,
        mask_valid_values=args.mask_valid_values,
        device=args.device,
        build=BuildOptions(workers=getattr(args, "workers", None)),
        progress=True,
    )


def finetune_runner(args: argparse.Namespace) -> OlmoEarthRunFineTuneRunner:
    """The runner of a fine-tuning.

    Args:
        args: Of a command with the arguments of a project.
    """
    from olmoearth_nb import BuildOptions, OlmoEarthRunFineTuneRunner

    return OlmoEarthRunFineTuneRunner(
        args.project_path,
        args.scratch_path or _scratches(args.project_path) / "finetune",
        random_weights=args.random_weights,
        device=args.device,
        build=BuildOptions(workers=getattr(args, "workers", None)),
        progress=True,
    )


def _scratches(project: Path) -> Path:
    # The scratches of a bundle lie beside it: its folder in the cache may be emptied.
    if is_archive(project):
        return project.parent / "scratches" / project.name.removesuffix(SUFFIX)
    return project / "scratches"


def partition_ids(args: argparse.Namespace) -> list[str] | None:
    """The partitions that are meant; None for all.

    Args:
        args: Of a command with ``--partition-ids``.
    """
    return args.partition_ids.split(",") if args.partition_ids else None
