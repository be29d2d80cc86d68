"""`make demo`: one model served on a local Kubernetes, from nothing to generated text."""
