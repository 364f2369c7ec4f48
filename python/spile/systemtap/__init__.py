"""The SystemTap engine: scripts for a session, and what runs and reads them."""

from __future__ import annotations

from .options import StapOptions

__all__ = ["StapOptions"]
