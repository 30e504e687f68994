"""The template's machinery: what serves, observes and manages the service that `app` is.

The names below are imported when they are first used: `import drydock` must stay cheap, since
`app --help` and the server import it as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drydock.context import State, current
    from drydock.service import Service
    from drydock.settings import BaseSettings, Settings, setting
else:
    _MODULES = {
        "BaseSettings": "settings",
        "Service": "service",
        "Settings": "settings",
        "State": "context",
        "current": "context",
        "setting": "settings",
    }

    def __getattr__(name: str) -> object:
        """Import what is asked for, and keep it."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
        globals()[name] = value = getattr(module, name)
        return value


__all__ = ["BaseSettings", "Service", "Settings", "State", "current", "setting"]
