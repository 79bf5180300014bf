"""``olmoearth_config.yaml``, a whole project in one file: read, checked, and turned into the three other files.

Everything else in the package works on ``dataset.json``, ``model.yaml`` and ``olmoearth_run.yaml``, so there is one way
from a configuration to a result. The format is that of olmoearth-runner 0.1.14, with what the published configuration
of version 0.13.0 has beyond it, and with classification, regression and Landsat, which its models announce.
"""

from olmoearth_nb.config.single_file.converted import ConvertedProject, convert
from olmoearth_nb.config.single_file.written import WrittenProject, convert_project

__all__ = ["ConvertedProject", "WrittenProject", "convert", "convert_project"]
