"""VLLMModels in files: validated, rendered and planned without a cluster, by the operator's own code."""
