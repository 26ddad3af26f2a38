"""Photos and labels on disk become a checked data set, an image cache, an audit and folds."""
