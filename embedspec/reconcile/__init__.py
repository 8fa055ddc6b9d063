"""Observe, plan, apply: what makes the store agree with the spec, and the verbs around it.

The package has the name of a verb: importing any module of it puts the package where
`embedspec.reconcile(...)` was found before. So the package can be called, and is that verb.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        # The interface stands above this package and imports it, hence by name and when called.
        return importlib.import_module("embedspec.sdk").reconcile(*arguments, **named)


sys.modules[__name__].__class__ = _Verb
