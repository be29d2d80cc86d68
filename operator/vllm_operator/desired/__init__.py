"""Pure: an accepted spec becomes a revision, a revision becomes manifests."""
