"""Every call to the Kubernetes API, on kubernetes.aio with plain dicts."""
