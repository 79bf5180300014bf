"""Checking a project, and the steps of both workflows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from olmoearth_nb.cli.arguments import (
    AddCommand,
    engine_arguments,
    finetune_runner,
    partition_ids,
    predict_runner,
    project_arguments,
    random_weights_argument,
    request_arguments,
)

__all__ = ["add_check", "add_steps", "pipeline"]


def add_check(command: AddCommand) -> None:
    """``check``.

    Args:
        command: Adds it.
    """
    check = command("check", _check, "everything that is wrong with a project, at once")
    check.add_argument("project_path", type=Path, help="project folder or bundle")
    random_weights_argument(check, "for a run with random weights: no checkpoint is needed")
    check.add_argument("--no-model", action="store_true", help="leave out the classes of model.yaml, which need torch")


def add_steps(command: AddCommand) -> None:
    """The steps, each as a command, and ``predict``, ``status`` and ``demo``.

    Args:
        command: Adds each.
    """
    for one in (
        command("prepare", _prepare, "annotations to labelled windows"),
        tune := command("finetune", _finetune, "train on the labelled windows"),
        build := command("build", _build, "get the imagery of the windows of a scratch, of either workflow"),
        part := command("partition", _partition, "split a request into partitions and windows"),
        infer := command("infer", _infer, "run the model on the windows"),
    ):
        project_arguments(one)
        one.add_argument("--overwrite", action="store_true", help="make anew what was made from other files")
    tune.add_argument("--max-epochs", type=int, help="instead of the number in model.yaml")
    build.add_argument("--limit", type=int, help="build only so many labelled windows, to look at first")
    build.add_argument("--workers", type=int, help="processes; 0 for none but this one (default: as is worth it)")

    post = command("postprocess", _postprocess, "postprocess and merge window results, partition by partition")
    combine = command("combine", _combine, "combine partition results into the result of the request")
    predict = command("predict", pipeline, "all steps of a prediction, or some")
    predict.add_argument("--steps", help="partition,dataset_build,inference,postprocess,combine (default: all)")
    engine_arguments(predict)
    status = command("status", _status, "how far a scratch is")
    demo = command("demo", _demo, "both workflows on a project, from annotations to the combined result")
    for one in (post, combine, predict, status, demo):
        project_arguments(one)
    for one in (build, part, infer, post, combine, predict, status):
        request_arguments(one)
    for one in (tune, demo):
        random_weights_argument(one, "start training from random weights; pretrained ones are not fetched")
    for one in (build, infer, post, combine, predict):
        one.add_argument("--partition-ids", help="ids, separated by commas (default: all)")
    for one in (build, infer):
        one.add_argument("--strict", action="store_true", help="fail if any window fails, not only if all do")


def _check(args: argparse.Namespace) -> Any:
    from olmoearth_nb import Project

    return Project(args.project_path).check(model=not args.no_model, random_weights=args.random_weights)


def _prepare(args: argparse.Namespace) -> Any:
    return finetune_runner(args).prepare_labeled_windows(overwrite=args.overwrite)


def _build(args: argparse.Namespace) -> Any:
    tuning = finetune_runner(args)
    if args.request_geometry_path is None and tuning.workspace.dataset.is_dir():
        return tuning.build_dataset_from_windows(overwrite=args.overwrite, strict=args.strict, limit=args.limit)
    return predict_runner(args).build_dataset(partition_ids(args), overwrite=args.overwrite, strict=args.strict)


def _finetune(args: argparse.Namespace) -> Any:
    return finetune_runner(args).fine_tune(max_epochs=args.max_epochs, overwrite=args.overwrite)


def _partition(args: argparse.Namespace) -> Any:
    return predict_runner(args).partition(overwrite=args.overwrite)


def _infer(args: argparse.Namespace) -> Any:
    return predict_runner(args).run_inference(partition_ids(args), overwrite=args.overwrite, strict=args.strict)


def _postprocess(args: argparse.Namespace) -> Any:
    return predict_runner(args).postprocess(partition_ids(args))


def _combine(args: argparse.Namespace) -> Any:
    return predict_runner(args).combine(partition_ids(args))


def pipeline(args: argparse.Namespace) -> Any:
    """Runs the steps that ``--steps`` names.

    Args:
        args: Arguments of a command that predicts.
    """
    steps = args.steps.split(",") if args.steps else None
    runner, ids = predict_runner(args), partition_ids(args)
    if args.engine is None and args.workers is args.address is None:
        return runner.run_pipeline(steps, ids)
    engine = args.engine or ("processes" if args.address is None else "dask")
    return runner.run(steps, ids, engine=engine, workers=args.workers, client=args.address, threads=args.threads)


def _status(args: argparse.Namespace) -> Any:
    tuning = finetune_runner(args)
    if args.request_geometry_path is None and tuning.workspace.dataset.is_dir():
        return tuning.status()
    return predict_runner(args).status()


def _demo(args: argparse.Namespace) -> Any:
    from olmoearth_nb.runners.demo import run_demo

    return run_demo(
        args.project_path,
        args.scratch_path or Path("demo"),
        random_weights=args.random_weights,
        device=args.device,
        progress=True,
    )
