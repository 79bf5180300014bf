"""The command line: parses, calls a runner, prints; the only place that prints or decides on an exit code.

Exit codes: 0 done, 1 an error told in one paragraph, 2 wrong usage. Progress goes to standard error, results to
standard output.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olmoearth_nb import __version__
from olmoearth_nb.errors import OlmoEarthError, UsageError

if TYPE_CHECKING:
    from olmoearth_nb.runners import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner

__all__ = ["local_predict", "main"]

Command = Callable[[argparse.Namespace], Any]


def main(argv: Sequence[str] | None = None) -> int:
    """``olmoearth-nb``.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit code.
    """
    return _run(_parser(), argv)


def local_predict(argv: Sequence[str] | None = None) -> int:
    """``olmoearth-run-local-predict``: all steps of a prediction, or some.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="olmoearth-run-local-predict", description="Runs the steps of a prediction on this machine."
    )
    _project(parser)
    _request(parser)
    parser.add_argument("--steps", help="partition,dataset_build,inference,postprocess,combine (default: all)")
    parser.add_argument("--partition-ids", help="ids, separated by commas (default: all)")
    _output(parser)
    parser.set_defaults(command=_pipeline)
    return _run(parser, argv)


def _run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    args = parser.parse_args(argv)
    try:
        result = args.command(args)
    except UsageError as error:
        _tell(error, verbose=args.verbose)
        return 2
    except OlmoEarthError as error:
        _tell(error, verbose=args.verbose)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on where it was.", file=sys.stderr)
        return 1
    _print(result, as_json=args.json)
    return 0 if getattr(result, "ok", True) else 1


def _tell(error: OlmoEarthError, *, verbose: bool) -> None:
    if verbose:
        traceback.print_exception(error)
    else:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)


def _print(result: Any, *, as_json: bool) -> None:
    results = result if isinstance(result, list) else [result]
    if as_json:
        values = [one.to_dict() for one in results]
        print(json.dumps(values if isinstance(result, list) else values[0], indent=2, default=str))
    else:
        print("\n\n".join(str(one) for one in results))


# ---- commands --------------------------------------------------------------------------------------------------


def _predict_runner(args: argparse.Namespace) -> OlmoEarthRunPredictRunner:
    from olmoearth_nb import BuildOptions, OlmoEarthRunPredictRunner, Project

    request = args.request_geometry_path
    if args.scratch_path is None:
        name = Path(request).stem if request else Project(args.project_path).request().stem
        args.scratch_path = Path(args.project_path) / "scratches" / name
    return OlmoEarthRunPredictRunner(
        args.project_path,
        args.scratch_path,
        request,
        args.checkpoint_path,
        mask_path=args.mask_path,
        mask_valid_values=args.mask_valid_values,
        device=args.device,
        build=BuildOptions(workers=getattr(args, "workers", None)),
        progress=True,
    )


def _finetune_runner(args: argparse.Namespace) -> OlmoEarthRunFineTuneRunner:
    from olmoearth_nb import BuildOptions, OlmoEarthRunFineTuneRunner

    return OlmoEarthRunFineTuneRunner(
        args.project_path,
        args.scratch_path or Path(args.project_path) / "scratches" / "finetune",
        device=args.device,
        build=BuildOptions(workers=getattr(args, "workers", None)),
        progress=True,
    )


def _ids(args: argparse.Namespace) -> list[str] | None:
    return args.partition_ids.split(",") if args.partition_ids else None


def _check(args: argparse.Namespace) -> Any:
    from olmoearth_nb import Project

    return Project(args.project_path).check(model=not args.no_model)


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


def _prepare(args: argparse.Namespace) -> Any:
    return _finetune_runner(args).prepare_labeled_windows(overwrite=args.overwrite)


def _build(args: argparse.Namespace) -> Any:
    tuning = _finetune_runner(args)
    if args.request_geometry_path is None and tuning.workspace.dataset.is_dir():
        return tuning.build_dataset_from_windows(overwrite=args.overwrite, strict=args.strict)
    return _predict_runner(args).build_dataset(_ids(args), overwrite=args.overwrite, strict=args.strict)


def _finetune(args: argparse.Namespace) -> Any:
    return _finetune_runner(args).fine_tune(max_epochs=args.max_epochs, overwrite=args.overwrite)


def _partition(args: argparse.Namespace) -> Any:
    return _predict_runner(args).partition(overwrite=args.overwrite)


def _infer(args: argparse.Namespace) -> Any:
    return _predict_runner(args).run_inference(_ids(args), overwrite=args.overwrite, strict=args.strict)


def _postprocess(args: argparse.Namespace) -> Any:
    return _predict_runner(args).postprocess(_ids(args))


def _combine(args: argparse.Namespace) -> Any:
    return _predict_runner(args).combine(_ids(args))


def _pipeline(args: argparse.Namespace) -> Any:
    steps = args.steps.split(",") if args.steps else None
    return _predict_runner(args).run_pipeline(steps, _ids(args))


def _status(args: argparse.Namespace) -> Any:
    tuning = _finetune_runner(args)
    if args.request_geometry_path is None and tuning.workspace.dataset.is_dir():
        return tuning.status()
    return _predict_runner(args).status()


def _demo(args: argparse.Namespace) -> Any:
    from olmoearth_nb.runners.demo import run_demo

    return run_demo(args.project_path, args.scratch_path or Path("demo"), device=args.device, progress=True)


# The commands of the guide: the same steps under its names and options.


def _guide_prepare(args: argparse.Namespace) -> Any:
    return _finetune_runner(args).prepare_labeled_windows()


def _guide_build(args: argparse.Namespace) -> Any:
    return _finetune_runner(args).build_dataset_from_windows()


def _guide_finetune(args: argparse.Namespace) -> Any:
    return _finetune_runner(args).fine_tune()


def _guide_run(args: argparse.Namespace) -> Any:
    return _predict_runner(args).run_pipeline()


def _guide_stage(args: argparse.Namespace) -> Any:
    runner = _predict_runner(args)
    runner.partition()
    stages: dict[str, Callable[[str | None], Any]] = {
        "build_dataset": runner.build_dataset,
        "run_inference": runner.run_inference,
        "postprocess": runner.postprocess,
        "combine": runner.combine,
    }
    return stages[args.stage](args.partition_id)


# ---- arguments -------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="olmoearth-nb", description="OlmoEarth Run projects, step by step.", epilog="Each command has --help."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call: Command, text: str) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=call)
        _output(one)
        return one

    check = command("check", _check, "everything that is wrong with a project, at once")
    check.add_argument("project_path", type=Path, help="project folder")
    check.add_argument("--no-model", action="store_true", help="leave out the classes of model.yaml, which need torch")
    _annotations_arguments(command("annotations", _annotations, "annotation files from any vector file"))

    for one in (
        command("prepare", _prepare, "annotations to labelled windows"),
        tune := command("finetune", _finetune, "train on the labelled windows"),
        build := command("build", _build, "get the imagery of the windows of a scratch, of either workflow"),
        part := command("partition", _partition, "split a request into partitions and windows"),
        infer := command("infer", _infer, "run the model on the windows"),
    ):
        _project(one)
        one.add_argument("--overwrite", action="store_true", help="make anew what was made from other files")
    tune.add_argument("--max-epochs", type=int, help="instead of the number in model.yaml")
    build.add_argument("--workers", type=int, help="processes; 0 for none but this one (default: as is worth it)")

    post = command("postprocess", _postprocess, "postprocess and merge window results, partition by partition")
    combine = command("combine", _combine, "combine partition results into the result of the request")
    predict = command("predict", _pipeline, "all steps of a prediction, or some")
    predict.add_argument("--steps", help="partition,dataset_build,inference,postprocess,combine (default: all)")
    status = command("status", _status, "how far a scratch is")
    demo = command("demo", _demo, "both workflows on a project, from annotations to the combined result")
    for one in (post, combine, predict, status, demo):
        _project(one)
    for one in (build, part, infer, post, combine, predict, status):
        _request(one)
    for one in (build, infer, post, combine, predict):
        one.add_argument("--partition-ids", help="ids, separated by commas (default: all)")
    for one in (build, infer):
        one.add_argument("--strict", action="store_true", help="fail if any window fails, not only if all do")
    _guide_commands(commands)
    return parser


def _guide_commands(commands: Any) -> None:
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
        one.set_defaults(command=call, device=None, request_geometry_path=None, mask_path=None, mask_valid_values=[1])
        if name not in tuning:
            one.add_argument("--checkpoint_path", "--checkpoint-path", dest="checkpoint_path", type=Path)
        if name == "one_stage":
            one.add_argument(
                "--stage", required=True, choices=("build_dataset", "run_inference", "postprocess", "combine")
            )
            one.add_argument("--partition_id", "--partition-id", dest="partition_id")
        _output(one)


def _annotations_arguments(parser: argparse.ArgumentParser) -> None:
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


def _project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project_path", nargs="?", type=Path, default=Path(), help="project folder (default: this one)")
    parser.add_argument(
        "--scratch-path", type=Path, help="default: PROJECT/scratches/ and the request's name, or finetune"
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    parser.set_defaults(request_geometry_path=None, checkpoint_path=None, mask_path=None, mask_valid_values=[1])


def _request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--request-geometry-path", type=Path, help="the request (default: the project's)")
    parser.add_argument("--checkpoint-path", type=Path, help="the checkpoint (default: the project's)")
    parser.add_argument("--mask-path", type=Path, help="GeoTIFF, GeoJSON or folder: only its valid area is predicted")
    parser.add_argument("--mask-valid-values", type=_numbers, default=[1], help="valid values of a raster mask: 1,2")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--verbose", action="store_true", help="print the traceback of an error")
