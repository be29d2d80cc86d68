"""PURE: what serves a model elsewhere (`vllm serve`, compose, model.json, KServe, KubeAI) as VLLMModels."""
