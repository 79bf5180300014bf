"""What one window looks like on its way through a model, as named arrays: no torch, no map library."""
