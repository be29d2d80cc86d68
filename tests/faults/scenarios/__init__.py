"""The scenarios, a file per thing that fails. Importing a file registers what is in it."""
