"""The spec: its model, reading it with positions, templates, fingerprints, schema and sample."""
