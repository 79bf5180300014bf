"""Configurations that were written for rslearn of another year, in the spelling of today.

Pure functions over parsed values. What rslearn's own deprecations still do right is done the same way here, so that
older and newer spellings may be mixed, which rslearn refuses.
"""

from __future__ import annotations

from olmoearth_nb.config.renamed.dataset import modern_dataset
from olmoearth_nb.config.renamed.draft import Add, Change, Drop, Edit, Keys, Modern, Put, Unclear
from olmoearth_nb.config.renamed.model import modern_model

__all__ = ["Add", "Change", "Drop", "Edit", "Keys", "Modern", "Put", "Unclear", "modern_dataset", "modern_model"]
