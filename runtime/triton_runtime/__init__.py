"""The entry point of the model container: runs tritonserver, ends it well, and says why it ended."""

__version__ = "0.1.0"
