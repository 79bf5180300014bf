"""Pictures of what there is at every step; nothing here is imported by ``import olmoearth_nb``."""
