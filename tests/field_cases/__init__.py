"""Faults that people met with tools of this kind, each done again through the product as a user drives it."""
