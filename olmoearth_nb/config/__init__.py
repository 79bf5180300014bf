"""The configuration of a project: read it, check it, build what it describes."""

from olmoearth_nb.config.aliases import install_aliases
from olmoearth_nb.config.build import build_object, check_object
from olmoearth_nb.config.code import custom_code
from olmoearth_nb.config.imports import import_object
from olmoearth_nb.config.inputs import ArgumentInput, inputs_of
from olmoearth_nb.config.modules import Carried, importable_from, make_importable
from olmoearth_nb.config.project import Project
from olmoearth_nb.config.report import FINE_TUNE_STEPS, PREDICT_STEPS, CheckReport, Problem
from olmoearth_nb.config.roles import Role, role_for
from olmoearth_nb.config.runconfig import RunConfig, load_run_config
from olmoearth_nb.config.schema import (
    InferenceResultsConfig,
    ObjectSpec,
    PartitionStrategies,
    PostprocessingStrategies,
    WindowPrep,
)

__all__ = [
    "FINE_TUNE_STEPS",
    "PREDICT_STEPS",
    "ArgumentInput",
    "Carried",
    "CheckReport",
    "InferenceResultsConfig",
    "ObjectSpec",
    "PartitionStrategies",
    "PostprocessingStrategies",
    "Problem",
    "Project",
    "Role",
    "RunConfig",
    "WindowPrep",
    "build_object",
    "check_object",
    "custom_code",
    "import_object",
    "importable_from",
    "inputs_of",
    "install_aliases",
    "load_run_config",
    "make_importable",
    "role_for",
]
