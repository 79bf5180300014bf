"""What is wrong with a window on its way through the model, in words."""

from __future__ import annotations

from olmoearth_nb.traces.check_dates import check_dates
from olmoearth_nb.traces.check_features import check_features
from olmoearth_nb.traces.check_labels import check_labels
from olmoearth_nb.traces.check_layers import check_layers
from olmoearth_nb.traces.check_outputs import check_outputs
from olmoearth_nb.traces.check_values import check_values
from olmoearth_nb.traces.data import TraceData
from olmoearth_nb.traces.findings import Findings

__all__ = ["findings"]

_CHECKS = (check_layers, check_dates, check_values, check_features, check_outputs, check_labels)


def findings(data: TraceData) -> Findings:
    """Looks for what goes wrong in projects: in layers, dates, values, the network, what it says, and labels.

    Errors are surely wrong, warnings look wrong, notes are worth knowing. One window is little to judge by: a warning
    says what to look at, and what else could be the reason.

    Args:
        data: The trace.
    """
    return Findings(data.window.name, [one for check in _CHECKS for one in check(data)])
