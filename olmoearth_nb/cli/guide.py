"""The commands of the OlmoEarth Run guide: the same steps under its names and options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import finetune_runner, output_arguments, predict_runner

__all__ = ["add_guide"]


def add_guide(commands: Any) -> None:
    """``olmoearth_run`` and what is below it.

    Args:
        commands: The subparsers of ``olmoearth-nb``.
    """
    guide = commands.add_parser("olmoearth_run", help="the commands of the OlmoEarth Run guide, under its names")
    stages = guide.add_subparsers(required=True, metavar="WORKFLOW")
    tuning = {
        "prepare_labeled_windows": _guide_prepare,
        "build_dataset_from_windows": _guide_build,
        "finetune": _guide_finetune,
    }
    for name, call in {**tuning, "olmoearth_run": _guide_run, "one_stage": _guide_stage}.items():
        one = stages.add_parser(name)
        folder = "--project_path" if name in tuning else "--config_path"
        one.add_argument(folder, "--project-path", dest="project_path", type=Path, required=True)
        one.add_argument("--scratch_path", "--scratch-path", dest="scratch_path", type=Path, required=True)
        one.set_defaults(command=call, device=None, request_geometry_path=None, random_weights=False)
        one.set_defaults(mask_path=None, mask_valid_values=[1])
        if name not in tuning:
            one.add_argument("--checkpoint_path", "--checkpoint-path", dest="checkpoint_path", type=Path)
        if name == "one_stage":
            one.add_argument(
                "--stage", required=True, choices=("build_dataset", "run_inference", "postprocess", "combine")
            )
            one.add_argument("--partition_id", "--partition-id", dest="partition_id")
        output_arguments(one)


def _guide_prepare(args: argparse.Namespace) -> Any:
    return finetune_runner(args).prepare_labeled_windows()


def _guide_build(args: argparse.Namespace) -> Any:
    return finetune_runner(args).build_dataset_from_windows()


def _guide_finetune(args: argparse.Namespace) -> Any:
    return finetune_runner(args).fine_tune()


def _guide_run(args: argparse.Namespace) -> Any:
    return predict_runner(args).run_pipeline()


def _guide_stage(args: argparse.Namespace) -> Any:
    runner = predict_runner(args)
    runner.partition()
    stages: dict[str, Callable[[str | None], Any]] = {
        "build_dataset": runner.build_dataset,
        "run_inference": runner.run_inference,
        "postprocess": runner.postprocess,
        "combine": runner.combine,
    }
    return stages[args.stage](args.partition_id)
