"""Models: load, predict, fine-tune, evaluate. The only room with torch, lightning and rslearn.train."""

from olmoearth_nb.compat import prepare_rslearn

# The modules of this room import rslearn.train, which has to be made importable first, in worker processes as well.
prepare_rslearn()
