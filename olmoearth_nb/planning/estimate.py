"""What a request takes before anything is fetched: amounts, hours, money, and what breaks first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from olmoearth_nb.planning.amounts import Amounts
from olmoearth_nb.planning.costs import PlanCosts
from olmoearth_nb.planning.limits import Limit
from olmoearth_nb.planning.rates import Figure
from olmoearth_nb.planning.steps import INFERENCE, StepCost, total_of
from olmoearth_nb.planning.units import amount, duration, readable_bytes
from olmoearth_nb.tables import html_table, text_table

__all__ = ["Estimate"]

# Limits that are nearest; all of them are in ``limits``.
_SHOWN = 6

Table = tuple[str, tuple[str, ...], Sequence[tuple[str, ...]]]


@dataclass(frozen=True, kw_only=True, repr=False)
class Estimate:
    """What a request takes, before anything is fetched.

    Attributes:
        costs: Partitions, windows, pixels, areas.
        amounts: Bytes, files and memory.
        steps: Time and money of each step.
        keeping_dollars: What scratch and results cost to keep.
        limits: What it runs into, that which breaks first first.
        figures: The numbers that it rests on, by name.
        notes: What it assumes, and what is not known.
    """

    costs: PlanCosts
    amounts: Amounts
    steps: tuple[StepCost, ...]
    keeping_dollars: float
    limits: tuple[Limit, ...]
    figures: Mapping[str, Figure]
    notes: tuple[str, ...] = ()

    @property
    def breaks_first(self) -> Limit | None:
        """The limit that is nearest; None if none is known."""
        return self.limits[0] if self.limits else None

    def step(self, name: str) -> StepCost:
        """A step by its name.

        Args:
            name: ``partition``, ``dataset_build``, ``inference on CPUs``, ``inference on GPUs``, ``postprocess`` or
                ``combine``.

        Raises:
            KeyError: If there is none.
        """
        return {one.step: one for one in self.steps}[name]

    def dollars(self, inference: str) -> float | None:
        """Money of all steps and of keeping what they make; None if a step is not known.

        Args:
            inference: Which of the two counts: ``CPUs`` or ``GPUs``.
        """
        total = total_of(self.steps, inference)
        return None if total.seconds is None else total.dollars + self.keeping_dollars

    def _tables(self) -> Iterator[Table]:
        amounts, months = self.amounts, self.figures["months"].value
        what = [
            *self.costs.rows[:-1],
            ("imagery, fetched", _size(amounts.fetched_bytes)),
            ("imagery, in the scratch", _size(amounts.imagery_bytes)),
            ("scratch", f"{_size(amounts.scratch_bytes)} in {amounts.scratch_files:,} files and folders"),
            ("combined result", _size(amounts.result_bytes)),
            ("memory of planning", _size(amounts.plan_memory)),
            ("memory of the workers", _size(amounts.worker_memory)),
            ("memory of combining", _size(amounts.combine_memory)),
        ]
        totals = [total_of(self.steps, where) for where in INFERENCE]
        steps = [_step_row(one) for one in (*self.steps, *totals)]
        steps.append(
            (
                f"keeping it, {months:g} month{'' if months == 1 else 's'}",
                "",
                "",
                "",
                "",
                f"{self.keeping_dollars:,.2f}",
                "",
            )
        )
        breaks = [
            (
                one.what,
                amount(one.needed, one.unit),
                amount(one.there, one.unit),
                f"{one.share:.3g}",
                "" if one.breaks_at is None else f"{one.breaks_at:,}",
                one.fix,
            )
            for one in self.limits[:_SHOWN]
        ]
        figures = [
            (name, f"{one.value:.4g} {one.unit}".strip(), one.source, one.about) for name, one in self.figures.items()
        ]
        yield "What the request takes", ("what", "how much"), what
        yield "Steps", ("step", "time", "between", "core hours", "GPU hours", "$", ""), steps
        yield self._verdict(), ("what", "takes", "there is", "ratio", "breaks at windows", "then"), breaks
        yield "What this rests on", ("figure", "value", "from", "what it is"), figures

    def _verdict(self) -> str:
        broken = [one.what for one in self.limits if one.share > 1]
        return f"What breaks first: {', '.join(broken)}" if broken else "What would break first"

    def __repr__(self) -> str:
        tables = [text_table(columns, rows, caption=caption) for caption, columns, rows in self._tables()]
        return "\n\n".join([*tables, *self.notes])

    def _repr_html_(self) -> str:
        tables = [html_table(columns, rows, caption=caption) for caption, columns, rows in self._tables()]
        return "".join([*tables, html_table(("note",), [(note,) for note in self.notes]) if self.notes else ""])

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain values, for JSON."""
        first = self.breaks_first
        return {
            "costs": asdict(self.costs),
            "amounts": asdict(self.amounts),
            "steps": [asdict(one) for one in self.steps],
            "keeping_dollars": self.keeping_dollars,
            "dollars": {inference: self.dollars(inference) for inference in INFERENCE},
            "limits": [asdict(one) | {"share": one.share} for one in self.limits],
            "breaks_first": None if first is None else first.what,
            "figures": {name: asdict(one) for name, one in self.figures.items()},
            "notes": list(self.notes),
        }


def _size(count: int | None) -> str:
    return "not known" if count is None else readable_bytes(count)


def _step_row(one: StepCost) -> tuple[str, ...]:
    if one.seconds is None:
        return one.step, "not known", "", "", "", "", one.note
    between = f"{duration(one.seconds / one.within)} and {duration(one.seconds * one.within)}"
    gpu_hours = f"{one.gpu_hours:,.2f}" if one.gpu_hours else ""
    return (
        one.step,
        duration(one.seconds),
        between,
        f"{one.core_hours:,.2f}",
        gpu_hours,
        f"{one.dollars:,.2f}",
        one.note,
    )
