"""What may be deleted at any time and costs only time: vectors that were computed before."""
