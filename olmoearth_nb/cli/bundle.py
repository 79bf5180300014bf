"""A project as one archive, and back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand, finetune_runner

__all__ = ["add_bundle"]


def add_bundle(command: AddCommand) -> None:
    """``bundle`` and ``unbundle``.

    Args:
        command: Adds each.
    """
    one = command("bundle", _bundle, "one archive of a project, with a version and a model card")
    one.add_argument("project_path", type=Path, help="project folder")
    one.add_argument("path", nargs="?", type=Path, help="folder for the bundle, or its file (default: PROJECT/bundles)")
    one.add_argument("--version", help="1.2.0, say (default: the one after the newest bundle in the folder)")
    one.add_argument("--scratch-path", type=Path, help="scratch of the fine-tuning, for the model card")
    one.add_argument("--checkpoint-path", type=Path, help="default: the project's, or the best of the scratch")
    one.add_argument("--evaluate", help="evaluate the scratch's best checkpoint on these splits: val,test")
    one.add_argument("--device", help="for --evaluate: cuda, mps or cpu (default: the best there is)")
    one.add_argument("--annotations", action="store_true", help="take the annotation files too; they may be private")
    one.add_argument("--licence", help="what others may do with it")
    one.add_argument("--description", help="one paragraph for the model card")
    one.add_argument("--include", action="append", default=[], help="pattern of further files in the project folder")
    one.add_argument("--force", action="store_true", help="make it although the check finds that prediction can't run")
    one.add_argument("--overwrite", action="store_true", help="replace a bundle of this version with other content")
    back = command("unbundle", _unbundle, "verify a bundle and unpack it")
    back.add_argument("path", type=Path, help="the bundle")
    back.add_argument("out_dir", nargs="?", type=Path, help="folder (default: name and version, here)")
    back.add_argument("--verify-only", action="store_true", help="unpack nothing")
    back.add_argument("--overwrite", action="store_true", help="replace files that are there with other content")


def _bundle(args: argparse.Namespace) -> Any:
    from olmoearth_nb import bundle_project
    from olmoearth_nb.errors import UsageError

    splits = args.evaluate.split(",") if args.evaluate else []
    if splits and args.scratch_path is None:
        raise UsageError("--evaluate needs --scratch-path.", fix="Give the scratch of the fine-tuning.")
    runner = finetune_runner(args) if splits else None
    return bundle_project(
        args.project_path,
        args.path,
        version=args.version,
        scratch=args.scratch_path,
        checkpoint=args.checkpoint_path,
        evaluations={split: runner.evaluate(split) for split in splits} if runner else None,
        annotations=args.annotations,
        licence=args.licence,
        description=args.description,
        include=args.include,
        force=args.force,
        overwrite=args.overwrite,
    )


def _unbundle(args: argparse.Namespace) -> Any:
    from olmoearth_nb import unbundle, verify_bundle

    return verify_bundle(args.path) if args.verify_only else unbundle(args.path, args.out_dir, overwrite=args.overwrite)
