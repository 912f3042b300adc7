"""Methods for rare, few, unknown or ordered labels, and for two populations."""
