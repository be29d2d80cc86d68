"""A Kubernetes operator that serves large language models with Triton Inference Server and vLLM."""

__version__ = "0.1.0"
