"""Writes docs/spec.schema.json from the built extension; or (--check) compares the two."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from spile import _native

COMMITTED = Path(__file__).resolve().parent.parent / "docs" / "spec.schema.json"


def main() -> int:
    """Writes or compares; the schema's meaning counts, not its white space."""
    current = json.loads(_native.spec_schema())
    if "--check" not in sys.argv[1:]:
        COMMITTED.write_text(json.dumps(current, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return 0
    if COMMITTED.exists() and json.loads(COMMITTED.read_text(encoding="utf-8")) == current:
        return 0
    print(f"{COMMITTED.name} is not what this build reads and writes: run `make docs` and commit it", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
