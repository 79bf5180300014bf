"""A project as one archive, with a version, a model card and the hash of every file."""

from olmoearth_nb.bundles.bundle import bundle_project, unbundle, verify_bundle
from olmoearth_nb.bundles.results import Bundle, Unbundled

__all__ = ["Bundle", "Unbundled", "bundle_project", "unbundle", "verify_bundle"]
