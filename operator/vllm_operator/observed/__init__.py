"""Frozen facts about a model's children and probes, and the store that the watchers fill."""
