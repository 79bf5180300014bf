"""Widgets: each an object with traits that code can read and set."""
