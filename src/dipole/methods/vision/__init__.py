"""Methods for images."""
