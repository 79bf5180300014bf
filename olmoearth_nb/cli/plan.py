"""What a request takes, before anything is fetched."""

from __future__ import annotations

import argparse
import math
from dataclasses import fields
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand, predict_runner, project_arguments, request_arguments
from olmoearth_nb.planning.rates import Figure, Rates

__all__ = ["add_plan"]

# Other commands have --workers too, and mean something else.
_DEST = "rate_"


def add_plan(command: AddCommand) -> None:
    """``plan``.

    Args:
        command: Adds it.
    """
    one = command(
        "plan", _plan, "what a request takes: windows, bytes, hours, money, what breaks first; nothing is fetched"
    )
    one.usage = "%(prog)s [PROJECT] [options]"
    project_arguments(one)
    request_arguments(one)
    one.add_argument(
        "--measure",
        action=argparse.BooleanOptionalAction,
        help="time the model on random pixels (default: if there is a checkpoint, or with --random-weights)",
    )
    rates = one.add_argument_group(
        "rates", "what is known about machines, catalogue and prices; the rest is shown as assumed"
    )
    for rate in fields(Rates):
        rates.add_argument(
            f"--{rate.name.replace('_', '-')}",
            dest=_DEST + rate.name,
            type=float,
            metavar="NUMBER",
            help=_help(rate.metadata["default"]),
        )


def _help(figure: Figure) -> str:
    default = "measured" if math.isnan(figure.value) else f"{figure.value:g}, {figure.source}"
    return f"{figure.unit} {figure.about} (default: {default})".strip()


def _plan(args: argparse.Namespace) -> Any:
    rates = Rates(**{rate.name: getattr(args, _DEST + rate.name) for rate in fields(Rates)})
    return predict_runner(args).estimate(measure=args.measure, rates=rates)
