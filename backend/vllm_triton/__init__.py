"""A Triton Inference Server backend that serves text through vLLM."""

__version__ = "0.1.0"
