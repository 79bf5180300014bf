"""One window through the model, with everything on the way noted; nothing of the dataset is changed."""
