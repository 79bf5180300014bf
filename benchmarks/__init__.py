"""What is measured, each with the limit that physics and libraries set: ``python -m benchmarks``."""
