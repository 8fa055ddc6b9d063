"""What `init` writes: a spec and a sample corpus that run as they are, and a line in .gitignore."""
