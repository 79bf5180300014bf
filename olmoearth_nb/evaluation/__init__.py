"""What a model got right and wrong: numbers by class, by window and by group, with intervals. No torch here."""
