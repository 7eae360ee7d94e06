"""The files that say who a client is.

| file | content |
|---|---|
| `ca.crt` | certificate of the venue's authority, PEM |
| `NAME.crt`, `NAME.key` | the client's certificate and its key, PEM |
| `NAME.logon` | Ed25519 key that signs Logons, PKCS #8 PEM of version 1 or 2 |

`tessera serve` makes a development set in `DATA/credentials` with the names `trader` and `admin`.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tessera.errors import CredentialsError


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client's certificate, its key and its Logon key; no secret is ever printed."""

    username: str
    """Name of the Logon key, at most 16 characters: what the server's `keys` file calls it."""
    ca_file: Path
    certificate_file: Path
    key_file: Path
    logon_key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def load(cls, directory: str | os.PathLike[str] | None = None, name: str = "trader") -> Credentials:
        """Reads the files of `name` in `directory`, or in the directory that TESSERA_CREDENTIALS names.

        Raises:
            CredentialsError: names the file and what is wrong with it.
        """
        if directory is None:
            directory = os.environ.get("TESSERA_CREDENTIALS")
        if directory is None:
            raise CredentialsError("no credentials: give a directory or set TESSERA_CREDENTIALS")
        base = Path(directory)
        files = [base / "ca.crt", base / f"{name}.crt", base / f"{name}.key", base / f"{name}.logon"]
        for file in files:
            if not file.is_file():
                raise CredentialsError(
                    f"{file}: no such file; `tessera serve` keeps a development set in DATA/credentials"
                )
        return cls(name, files[0], files[1], files[2], _logon_key(files[3]))


def _logon_key(file: Path) -> Ed25519PrivateKey:
    try:
        pem = file.read_bytes()
        seed = _seed_of_version_2(pem)
        key = Ed25519PrivateKey.from_private_bytes(seed) if seed else load_pem_private_key(pem, None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CredentialsError(f"{file}: not a private key in PEM: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CredentialsError(f"{file}: Logons are signed with Ed25519, this is another kind of key")
    return key


def _seed_of_version_2(pem: bytes) -> bytes | None:
    """The secret of an Ed25519 key with its public key behind it, RFC 8410 section 7; None for other files.

    Servers write this form, PKCS #8 version 2, and `cryptography` reads version 1 only. The DER of both is
    of fixed length: this prefix, 32 bytes of secret, and in version 2 a prefix and 32 bytes of public key.
    """
    lines = [line for line in pem.splitlines() if line and not line.startswith(b"-----")]
    try:
        der = base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error:
        return None
    prefix = bytes.fromhex("3051020101300506032b657004220420")
    public = bytes.fromhex("812100")
    if len(der) != 83 or not der.startswith(prefix) or der[48:51] != public:
        return None
    return der[16:48]
