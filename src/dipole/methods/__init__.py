"""Methods: one file per paper, found by their cards."""
