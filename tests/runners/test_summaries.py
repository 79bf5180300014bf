from __future__ import annotations

from olmoearth_nb.runners.summaries import BuildSummary
from olmoearth_nb.types import StepName


def test_windows_that_failed_for_the_same_reason_are_one_line() -> None:
    problems = {f"default/w{i}": "no imagery" for i in range(140)} | {"default/x": "broken file"}
    summary = BuildSummary(step=StepName.DATASET_BUILD, counts={"windows": 200}, seconds=1.0, problems=problems)
    assert repr(summary).splitlines()[-2:] == [
        "default/w0 and 139 more  no imagery",
        "default/x                broken file",
    ]
    assert "default/w0 and 139 more" in summary._repr_html_()
    assert len(summary.to_dict()["problems"]) == 141


def test_many_reasons_are_cut_and_say_so() -> None:
    summary = BuildSummary(
        step=StepName.DATASET_BUILD, counts={}, seconds=0.0, problems={str(i): f"reason {i}" for i in range(13)}
    )
    assert repr(summary).splitlines()[-1].split() == ["…", "and", "3", "other", "reasons,", "see", ".problems"]
