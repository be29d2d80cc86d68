"""Turns vLLM's source code into the operator's engine-argument files, without importing it."""
