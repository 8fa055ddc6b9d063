"""The store protocol, the registry's records, the in-memory reference store, finding adapters."""
