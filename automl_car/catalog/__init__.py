"""Backbones and augmentations, and the plugins that bring them."""
