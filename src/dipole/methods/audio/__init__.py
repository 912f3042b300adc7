"""Methods that learn from sounds and the texts that tell of them."""
