"""embedspec: declared embeddings. A spec in a repository, a plan before the bill, a store in step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedspec.sdk import (
        evaluate,
        gc,
        load,
        load_plan,
        open,
        plan,
        promote,
        query,
        reconcile,
        rollback,
        save_plan,
        schema,
        status,
        validate,
    )
    from embedspec.spec.model import Spec

__version__ = "0.1.0"

__all__ = [
    "Spec",
    "evaluate",
    "gc",
    "load",
    "load_plan",
    "open",
    "plan",
    "promote",
    "query",
    "reconcile",
    "rollback",
    "save_plan",
    "schema",
    "status",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Names come in on first use: `import embedspec` and `embedspec --help` stay instant."""
    if name == "Spec":
        from embedspec.spec.model import Spec

        return Spec
    if name in __all__:
        from embedspec import sdk

        return getattr(sdk, name)
    raise AttributeError(f"module 'embedspec' has no attribute {name!r}")
