"""Methods that bring several modalities of a sample together."""
