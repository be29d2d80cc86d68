"""The parts of `bench/operator_scale.py`."""
