"""Measurements of OrderSpine's speed and size."""
