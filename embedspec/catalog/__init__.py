"""What is known of a model, from its own card, and whether the spec's policy accepts it."""
