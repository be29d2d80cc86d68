"""Lists and watches of the children: each (kind, namespace) is kept true in the store by itself."""
