"""Pure: facts become conditions and the rest of the status."""
