"""``model.yaml`` of a new project: the published recipe, commented."""

from __future__ import annotations

from olmoearth_nb.newproject.choices import Task
from olmoearth_nb.newproject.inputs import GROUP, SPLIT_PROPERTY, data_text, overlap_of
from olmoearth_nb.newproject.network import decoder_text, encoder_text, optimizer_text
from olmoearth_nb.newproject.proposal import Proposal
from olmoearth_nb.newproject.text import block, indented

__all__ = ["GROUP", "SPLIT_PROPERTY", "model_text"]

# The published projects unfreeze at epoch 20 of 100.
_FROZEN_SHARE = 5


def model_text(proposal: Proposal) -> str:
    """The file's text.

    Args:
        proposal: The project.
    """
    return "\n".join([_header(proposal), _model(proposal), data_text(proposal), _trainer(proposal)])


def _header(proposal: Proposal) -> str:
    what = {
        Task.SEGMENTATION: "A class for each pixel",
        Task.CLASSIFICATION: "A class for a place",
        Task.REGRESSION: "A number for a place",
        Task.PER_PIXEL_REGRESSION: "A number for each pixel",
    }[proposal.task]
    looks = f"{proposal.encoder.name}, fine-tuned" if proposal.encoder.model_id else "a small convolutional network"
    imagery = "local" if proposal.imagery.is_local else proposal.imagery.layer
    return block(
        f"""
        # {what}, from {imagery} imagery, by {looks}.
        #
        # Variables (a dollar sign and a name in braces) are filled in for each run.
        """
    )


def _model(proposal: Proposal) -> str:
    return block(
        """
        model:
          class_path: rslearn.train.lightning_module.RslearnLightningModule
          init_args:
            model:
              class_path: rslearn.models.singletask.SingleTaskModel
              init_args:
                encoder:
        @ENCODER
                decoder:
        @DECODER
        @OPTIMIZER
        """,
        ENCODER=indented(encoder_text(proposal), 10),
        DECODER=indented(decoder_text(proposal), 10),
        OPTIMIZER=indented(optimizer_text(proposal), 4),
    )


def _trainer(proposal: Proposal) -> str:
    freeze = block(
        f"""
        # First the decoder alone learns; then all of it, the encoder with a tenth of the learning rate.
        - class_path: rslearn.train.callbacks.freeze_unfreeze.FreezeUnfreeze
          init_args:
            module_selector: [model, encoder, 0]
            unfreeze_at_epoch: {max(1, proposal.epochs // _FROZEN_SHARE)}
            unfreeze_lr_factor: 10
        """
    )
    merger = block(
        f"""
        merger:
          class_path: rslearn.train.prediction_writer.RasterMerger
          # The overlap is that of predict_config: half of it is cut from each crop.
          init_args: {{overlap_pixels: {overlap_of(proposal.window_size)}}}
        """
    )
    return block(
        f"""
        trainer:
          max_epochs: {proposal.epochs}
          callbacks:
            - class_path: lightning.pytorch.callbacks.ModelCheckpoint
              init_args:
                dirpath: ${{TRAINER_DATA_PATH}}
                monitor: val_loss
                mode: min
                save_top_k: 1
                save_last: true
        @FREEZE
            - class_path: rslearn.train.prediction_writer.RslearnWriter
              init_args:
                path: ${{DATASET_PATH}}
                output_layer: ${{PREDICTION_OUTPUT_LAYER}}
        @MERGER
        """,
        FREEZE=indented(freeze, 4) if proposal.encoder.model_id else "",
        MERGER=indented(merger, 8) if proposal.task.is_raster else "",
    )
