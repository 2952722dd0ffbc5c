"""The certificate that signs pictures: one of your own, or one that Sumi makes on the first run and keeps.

    <folder>/certificate.pem    the certificate, then the authority that issued it
    <folder>/key.pem            the private key (PKCS 8), readable by its owner alone
    <folder>/anchors.pem        further authorities that `sumi verify` trusts; may be absent

The folder is $SUMI_SIGNING, or `sumi/signing` in the user's configuration folder; SUMI_SIGNING=off signs nothing. A
certificate that Sumi made names nobody: it says that the same machine signed two pictures, and not whose it is.
"""

from __future__ import annotations

import datetime
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from sumi.atomic_file import write_atomic
from sumi.errors import SumiError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

__all__ = ["OFF", "VARIABLE", "SigningCertificate", "find_folder", "load_certificate", "make_certificate"]

VARIABLE: Final = "SUMI_SIGNING"
OFF: Final = "off"
CERTIFICATE, KEY, ANCHORS = "certificate.pem", "key.pem", "anchors.pem"
VALID_DAYS: Final = 3650
LARGEST_PEM_BYTES: Final = 2**20


@dataclass(frozen=True)
class SigningCertificate:
    """A certificate with its key.

    Attributes:
        chain: the certificate and those that issued it, as PEM, the authority last.
        key: the private key as PEM.
        algorithm: C2PA's name of the signature, such as ed25519.
        anchors: the authorities to trust, as PEM: its own and those of `anchors.pem`.
    """

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str
    anchors: str


def find_folder() -> Path | None:
    """Return the folder of the signing certificate; None where signing is off."""
    if given := os.environ.get(VARIABLE):
        return None if given.casefold() == OFF else Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or "~/AppData/Roaming"
    else:
        base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "sumi" / "signing"


def load_certificate(folder: Path | None = None) -> SigningCertificate | None:
    """Return the certificate of a folder, made if the folder has none; None where signing is off.

    Args:
        folder: by default that of `find_folder`.

    Raises:
        SumiError: the files are unreadable, do not belong together, or the folder cannot be written.
    """
    folder = folder or find_folder()
    if folder is None:
        return None
    try:
        if not (folder / CERTIFICATE).exists():
            _keep(folder, *make_certificate())
        chain, key = _read(folder / CERTIFICATE), _read(folder / KEY)
        more = _read(folder / ANCHORS) if (folder / ANCHORS).exists() else b""
    except OSError as error:
        raise SumiError(
            f"cannot keep a signing certificate in {folder}: {error.strerror or error};"
            f" set {VARIABLE} to another folder, or to {OFF}"
        ) from None
    return _check(folder, chain, key, more)


def make_certificate() -> tuple[bytes, bytes]:
    """Return a new certificate chain and its private key, as PEM: Ed25519, issued by an authority made for it alone.

    The key of the authority is thrown away, so it issues no other certificate.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    authority, own = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    issuer = _issue("Sumi authority of this machine", "Sumi authority of this machine", authority, authority, True)
    leaf = _issue("Sumi on this machine", "Sumi authority of this machine", own, authority, False)
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, issuer))
    key = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return chain, key


def _issue(
    subject: str, issuer: str, own: PrivateKeyTypes, authority: PrivateKeyTypes, is_authority: bool
) -> x509.Certificate:
    """Return a certificate with the extensions that C2PA's profile asks for (C2PA 2.2, section 14.5)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    assert isinstance(own, Ed25519PrivateKey) and isinstance(authority, Ed25519PrivateKey)

    def name(common: str) -> x509.Name:
        pairs = ((NameOID.ORGANIZATION_NAME, "Sumi"), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in pairs])

    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)  # clocks of machines differ
    usage = x509.KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(is_authority, None), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(authority, None)


def _keep(folder: Path, chain: bytes, key: bytes) -> None:
    """Write a new certificate and its key, unless another process was faster."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if (folder / CERTIFICATE).exists():
            return
        with open(os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key)
        write_atomic(folder / CERTIFICATE, chain)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_PEM_BYTES)


def _check(folder: Path, chain: bytes, key: bytes, more: bytes) -> SigningCertificate:
    """Return files as a certificate; SumiError where they are damaged or do not belong together."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        certificates = x509.load_pem_x509_certificates(chain)
        private = serialization.load_pem_private_key(key, None)
        anchors = [certificates[-1], *(x509.load_pem_x509_certificates(more) if more.strip() else ())]
    except (ValueError, TypeError) as error:
        raise SumiError(
            f"the signing certificate in {folder} is damaged, or its key has a password: {str(error)[:80]}"
        ) from None
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    keys = [
        public.public_bytes(serialization.Encoding.DER, form)
        for public in (certificates[0].public_key(), private.public_key())
    ]
    if keys[0] != keys[1]:
        raise SumiError(f"{folder / KEY} is not the key of {folder / CERTIFICATE}: give a pair that belongs together")
    pem = "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in anchors)
    return SigningCertificate(chain, key, _algorithm(folder, private), pem)


def _algorithm(folder: Path, key: PrivateKeyTypes) -> str:
    """Return C2PA's name for the signatures of a key; SumiError for a key that C2PA does not allow."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in (curves := _CURVES):
        return curves[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise SumiError(f"{folder / KEY}: C2PA signs with Ed25519, ECDSA on P-256, P-384 or P-521, or RSA from 2,048 bits")


_CURVES: Final = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
