"""Measuring an index against golden labels: read them, run the queries, score the ranked lists."""
