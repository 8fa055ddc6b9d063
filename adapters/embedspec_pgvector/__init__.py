"""pgvector as a target: PostgreSQL 14 or newer with pgvector 0.8 or newer, or an embedded server."""
