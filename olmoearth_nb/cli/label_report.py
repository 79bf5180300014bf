"""What is doubtful about the labels of a project."""

from __future__ import annotations

import argparse
from typing import Any

from olmoearth_nb.cli.arguments import AddCommand, finetune_runner, project_arguments

__all__ = ["add_label_report"]


def add_label_report(command: AddCommand) -> None:
    """``label-report``.

    Args:
        command: Adds it.
    """
    text = "what is doubtful about labels: balance, conflicts, leakage, times (exit code 1 if anything is bad)"
    project_arguments(command("label-report", _report, text))


def _report(args: argparse.Namespace) -> Any:
    return finetune_runner(args).label_report()
