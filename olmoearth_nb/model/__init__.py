"""Models: load, predict, fine-tune, evaluate. The only room with torch, lightning and rslearn.train."""

from olmoearth_nb.compat import prepare_rslearn
from olmoearth_nb.config.aliases import install_aliases

# The modules of this room import rslearn.train, which has to be made importable first, in worker processes as well.
prepare_rslearn()
# A process that is spawned to read data unpickles objects of custom classes, which may import OlmoEarth Run.
install_aliases()
