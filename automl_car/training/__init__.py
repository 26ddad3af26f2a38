"""Training one fold: the only part, with plugins' build functions, that imports torch."""
