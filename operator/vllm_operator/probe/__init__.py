"""Real inferences sent to Triton through tritonclient."""
