"""``README.md`` of a new project: what JSON can't say."""

from __future__ import annotations

from olmoearth_nb.newproject.proposal import Proposal
from olmoearth_nb.newproject.text import block

__all__ = ["readme_text", "requirements_of"]

_PLANETARY = ("planetary-computer>=1.0", "pystac-client>=0.9")
_OLMOEARTH = "olmoearth-pretrain-minimal>=0.1.3"


def requirements_of(proposal: Proposal) -> list[str]:
    """What the project needs beyond olmoearth_nb, as lines of ``requirements.txt``.

    Args:
        proposal: The project.
    """
    needed = [_OLMOEARTH] if proposal.encoder.model_id else []
    source = str(proposal.imagery.data_source["class_path"])
    return needed + (list(_PLANETARY) if ".planetary_computer." in source else [])


def readme_text(proposal: Proposal, name: str) -> str:
    """The file's text.

    Args:
        proposal: The project.
        name: Of its folder.
    """
    rows = [f"| {choice} | {_cell(value)} | {_cell(why)} |" for choice, value, why in proposal.rows()]
    notes = [f"- {note[0].upper()}{note[1:]}." for note in proposal.notes]
    return (
        block(
            f"""
            # {name}: {proposal.task.value} of {proposal.label_name}

            | file | what it is |
            | --- | --- |
            | `dataset.json` | layers: `{proposal.imagery.layer}` (imagery), `label`, `output` (by the model) |
            | `model.yaml` | the model, its inputs, the training |
            | `olmoearth_run.yaml` | partitions, windows, postprocessing, window preparation, legend |
            | `annotation_task_features.geojson`, `annotation_features.geojson` | the labels |
            | `prediction_request_geometry.geojson` | a first request among the labels: replace it by your own |

            ## How to go on

            ```
            olmoearth-nb check {name}
            olmoearth-nb prepare {name}     # annotations -> labelled windows
            olmoearth-nb build {name}       # imagery for each of them; --limit 10 for ten of them first
            olmoearth-nb finetune {name}
            ```

            Copy the checkpoint that training names to `{name}/checkpoint.ckpt`; then `olmoearth-nb predict {name}`.

            ## What was chosen, and why

            Everything here can be changed in the files; nothing else depends on it but what the comments say.

            | choice | is | why |
            | --- | --- | --- |
            @ROWS
            @NOTES

            ## About the imagery

            @IMAGERY
            """,
            ROWS="\n".join(rows),
            NOTES="\n".join(["", *notes]) if notes else "",
            IMAGERY=_imagery(proposal),
        )
        + "\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _imagery(proposal: Proposal) -> str:
    imagery = proposal.imagery
    if imagery.is_local:
        return (
            f"Files `{imagery.data_source['init_args']['pattern']}` in "
            f"`{imagery.data_source['init_args']['src_dir']}` (`src_dir` of `dataset.json`, relative to this folder), "
            "read where they lie. New files are found when windows are built."
        )
    told = {
        "sentinel2": "Sentinel-2 Level-2A of Microsoft's Planetary Computer, the least cloudy first. `harmonize` takes "
        "off the 1000 by which pixels are higher since 2022, as OlmoEarth expects.",
        "sentinel1": "Sentinel-1 of Microsoft's Planetary Computer, terrain corrected; intensities, which `model.yaml` "
        "turns into decibels.",
        "landsat": "Landsat 8 and 9.",
    }[imagery.source]
    dates = " A window has one mosaic of its time."
    if imagery.dates > 1:
        dates = (
            f" A window has {imagery.dates} mosaics, one for each 30 days of its time (`period_duration`); windows "
            "with fewer than `min_matches` of them get no imagery, which the summary of the build says."
        )
    return f"{told}{dates} Only the windows' pixels are read, over the internet."
