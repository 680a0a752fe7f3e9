"""One file per model format; each imports its library only when a model of that format is loaded."""
