"""Pure folds of events into the views that people and programs read."""
