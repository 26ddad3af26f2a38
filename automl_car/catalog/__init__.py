"""Backbones, augmentations, trackers and executors, and the plugins that bring them."""
