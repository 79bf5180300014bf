"""What a report on labels calls rare, small, near or much: every bound, with its reason."""

from __future__ import annotations

__all__ = [
    "CLUSTERED",
    "CONFOUNDED",
    "CROWDED_TASK",
    "DOMINANT_SHARE",
    "DRIFT",
    "EMPTY_TASKS",
    "EMPTY_TIME",
    "FAR_METRES",
    "FEWEST",
    "FEWEST_FOR_TIMES",
    "LEAST_APART_METRES",
    "LEAST_COVERED",
    "MOST_PAIRS",
    "OUTLIER_REACH",
    "RAREST_SHARE",
    "SLIVER_PIXELS",
]

RAREST_SHARE = 0.01
"""Below this part of all labels a class hardly weighs in a mean loss."""

FEWEST = 10
"""Below this many, a test share of 20 % is one or two examples: no measure of a class."""

DOMINANT_SHARE = 0.9
"""Above this, always saying the same class is right nine times of ten."""

DRIFT = 0.5
"""Standard deviations that the mean of a measurement may differ between splits; more is another population."""

OUTLIER_REACH = 3.0
"""Interquartile ranges beyond the quartiles: Tukey's far outliers (Exploratory Data Analysis, 1977)."""

EMPTY_TASKS = 0.5
"""When most tasks have no labels, something went wrong with the export rather than with single tasks."""

CROWDED_TASK = 0.5
"""When one task holds most annotations, the others hardly count."""

CLUSTERED = 0.5
"""Clark and Evans' ratio (Ecology 35, 1954): 1 at random, 2.15 in a regular net, 0 in one heap."""

LEAST_COVERED = 0.5
"""When less of a request lies among the annotations, most of the prediction is extrapolation."""

SLIVER_PIXELS = 0.5
"""Overlaps narrower than this, in pixels, come from drawing along a shared border."""

MOST_PAIRS = 500_000
"""Overlapping pairs that are looked at; heaps of polygons upon each other would fill the memory otherwise."""

LEAST_APART_METRES = 100.0
"""Windows smaller than this are near if closer than this: pixels of one field or stand are copies of each other."""

FAR_METRES = 100_000.0
"""From here on the distance of splits is that of windows' centres: projections are no longer true to a metre there."""

CONFOUNDED = 0.5
"""Cramér's V of class and quarter of a year that counts as a large association (Cohen 1988 for two classes)."""

FEWEST_FOR_TIMES = 20
"""Fewer annotations fall into quarters of a year by chance."""

EMPTY_TIME = 1.0
"""Days; catalogues have an image of a place every few days, so that a shorter time has one by luck only."""
