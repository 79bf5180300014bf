"""From a request to partitions and windows: what a prediction will do, nothing written."""

from olmoearth_nb.planning.plan import Partition, Plan, PlanCounts, WindowFilter, plan, window_name

__all__ = ["Partition", "Plan", "PlanCounts", "WindowFilter", "plan", "window_name"]
