"""Observe, plan, apply: what makes the store agree with the spec, and the verbs around it."""
