"""From source files to records: reading, hashing, summarising and selective re-reading."""
