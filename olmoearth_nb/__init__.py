"""A Jupyter-first kit for OlmoEarth Run projects."""
