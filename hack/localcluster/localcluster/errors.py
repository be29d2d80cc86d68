"""The one error a caller of this package has to know: what was attempted, and why it did not work."""


class LocalClusterError(Exception):
    """Something on this machine stands in the way; the message is one sentence a person can act on."""
