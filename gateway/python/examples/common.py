"""What every example needs: where the exchange is and who we are, from the environment."""

from __future__ import annotations

import os
import sys

from tessera import Credentials, SessionEnded, TesseraError


def address() -> str:
    """HOST:PORT of the exchange, as its READY line says it: TESSERA_ADDR."""
    return os.environ.get("TESSERA_ADDR", "127.0.0.1:7700")


def credentials() -> Credentials:
    """The trader's files in the directory TESSERA_CREDENTIALS."""
    return Credentials.load()


def session_name(example: str) -> str:
    """A name for the session, 1 to 16 characters: one connection at a time may use it."""
    return os.environ.get("TESSERA_SESSION", example)


def explain(error: TesseraError) -> None:
    """Prints what went wrong and stops with status 1."""
    hint = "" if not isinstance(error, SessionEnded) else f" (logout {error.logout}, close {error.close})"
    sys.exit(f"{type(error).__name__}: {error}{hint}")
