"""What turned out to be true of predictions: the names they are known by, counted, and kept."""
