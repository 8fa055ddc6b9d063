"""embedspec: declared embeddings. A spec in a repository, a plan before the bill, a store in step."""

__version__ = "0.1.0"
