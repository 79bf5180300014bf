"""A new project from a file of labels: what is read, what is proposed, and the files that are written."""
