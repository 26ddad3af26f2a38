"""Backbones, augmentations and trackers, and the plugins that bring them."""
