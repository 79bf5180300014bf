"""The command line: parses, calls a runner, prints; the only place that prints or decides on an exit code.

Exit codes: 0 done, 1 an error told in one paragraph, 2 wrong usage. Progress goes to standard error, results to
standard output.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from olmoearth_nb import __version__
from olmoearth_nb.cli.arguments import Command, output_arguments, project_arguments, request_arguments
from olmoearth_nb.cli.bundle import add_bundle
from olmoearth_nb.cli.convert import add_convert
from olmoearth_nb.cli.export import add_export
from olmoearth_nb.cli.guide import add_guide
from olmoearth_nb.cli.label_report import add_label_report
from olmoearth_nb.cli.labels import add_annotations
from olmoearth_nb.cli.migrate import add_migrate
from olmoearth_nb.cli.new import add_new
from olmoearth_nb.cli.plan import add_plan
from olmoearth_nb.cli.steps import add_check, add_steps, pipeline
from olmoearth_nb.cli.upgrade import add_upgrade
from olmoearth_nb.errors import OlmoEarthError, UsageError

__all__ = ["local_predict", "main"]


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
    project_arguments(parser)
    request_arguments(parser)
    parser.add_argument("--steps", help="partition,dataset_build,inference,postprocess,combine (default: all)")
    parser.add_argument("--partition-ids", help="ids, separated by commas (default: all)")
    output_arguments(parser)
    parser.set_defaults(command=pipeline, engine=None, workers=None, address=None)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="olmoearth-nb", description="OlmoEarth Run projects, step by step.", epilog="Each command has --help."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call: Command, text: str) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=call)
        output_arguments(one)
        return one

    add_new(command)
    add_check(command)
    add_convert(command)
    add_upgrade(command)
    add_annotations(command)
    add_label_report(command)
    add_plan(command)
    add_steps(command)
    add_export(command)
    add_migrate(command)
    add_bundle(command)
    add_guide(commands)
    return parser
