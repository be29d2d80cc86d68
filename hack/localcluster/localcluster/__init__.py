"""A real upstream Kubernetes on one Linux machine, without Docker and without an image registry."""
