"""The fault suite: what the operator says and does while the world around it fails. `python -m faults`."""
