#!/usr/bin/env python3
"""Verify a Holdfast evidence bundle without Holdfast.

  bundle.py CERTIFICATE BUNDLE --trust FOLDER_OR_ZIP [--at UNIX_SECONDS] [--level LEVEL] [--rehearsal] [--json]

FOLDER has `ca/` (roots of the CA), `tpm/` (roots of TPM manufacturers), `iak/` (roots of device manufacturers) and `ledger/` (keys of ledgers): whom you believe is
yours to say. Needs Python 3.9 and `cryptography`, nothing of ours. Exit 0: valid; 3: refused; 2: cannot be asked.

Everything is read here, byte by byte; `cryptography` is asked for signatures alone. What is checked, and why that is
enough, stands in docs/adr/0022-evidence-bundle.md and 0028-decided-again.md. What is not checked: the activation (the CA's word, signed), and
vendors' CRLs of that day. And the rules are read here, not evaluated: that the archived policy is the one the CA committed to, and has the
rules and profiles that are said to have decided, is checked; that they decide so is what `ca-cli verify` finds out.
"""
import argparse
import base64
import datetime
import hashlib
import json
import math
import pathlib
import re
import sys
import time
import zipfile

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

CHECKS = ["certificate", "record", "transcript", "ledger", "signature", "endorsement", "attestation", "certification",
          "identity", "request", "names", "policy", "decision"]
LEVELS = {"software": "2.4", "virtual": "2.3", "manufacturer-verified": "2.5", "hardware-allowlisted": "2.2",
          "hardware-verified": "2.1"}  # lowest first
ARC = "1.3.6.1.4.1.32473.27071."
HASHES = {0x0B: hashlib.sha256, 0x0C: hashlib.sha384, 0x0D: hashlib.sha512}


class No(Exception):
    """A check refuses, and says why."""


def need(condition, why):
    if not condition:
        raise No(why)


def sha256(data):
    return hashlib.sha256(data).digest()


# --- the archive: one spelling of ustar ---------------------------------------------------------------------------------

def header(name, length):
    out = bytearray(512)
    for at, text in [(0, name), (100, "0000444\0"), (108, "0000000\0"), (116, "0000000\0"), (124, f"{length:011o}\0"),
                     (136, "00000000000\0"), (148, "        "), (156, "0"), (257, "ustar\x0000")]:
        out[at:at + len(text)] = text.encode("ascii")
    out[148:156] = f"{sum(out):06o}\0 ".encode()
    return bytes(out)


def archive(files):
    out = b""
    for name, content in sorted(files.items()):
        out += header(name, len(content)) + content + bytes(-len(content) % 512)
    return out + bytes(1024)


def read_archive(data, most=1 << 20):
    need(len(data) <= most, f"longer than {most} bytes")
    files, at = {}, 0
    while True:
        block = data[at:at + 512]
        need(len(block) == 512, "the archive is cut off")
        if block == bytes(512):
            break
        name = block[:100].split(b"\0")[0]
        need(re.fullmatch(rb"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)?", name), "a name in the archive")
        need(re.fullmatch(rb"[0-7]{11}", block[124:135]), "a length in the archive")
        length = int(block[124:135], 8)
        need(at + 512 + length <= len(data), "the archive is cut off")
        files[name.decode()] = data[at + 512:at + 512 + length]
        at += 512 + length + -length % 512
    need(archive(files) == data, "the archive is not written as one is")
    return files


def read_bundle(data):
    files = read_archive(data)
    take = lambda name: files.pop(name, None)

    def chain(folder):
        out = []
        while len(out) < 16 and f"{folder}/{len(out)}.der" in files:
            out.append(files.pop(f"{folder}/{len(out)}.der"))
        return out

    bundle = {"issuers": chain("issuers"), "path": chain("endorsement"), "certificate": take("certificate.der"),
              "evidence": take("evidence.bin"), "transcript": take("transcript.json"), "policy": take("policy.json"), "entry": take("ledger/entry.json"),
              "proof": take("ledger/proof.txt")}
    for name in ["certificate", "evidence", "transcript"]:
        need(bundle[name] is not None, f"there is no {name} in it")
    need(bundle["issuers"], "there is no issuer in it")
    need((bundle["entry"] is None) == (bundle["proof"] is None), "an entry of the ledger without its proof")
    need(not files, f"`{next(iter(files), '')}` does not belong into it")
    return bundle


# --- DER ----------------------------------------------------------------------------------------------------------------

def tlv(data, at=0):
    """One element at `at`: tag, content, whole, where the next begins."""
    need(at + 2 <= len(data), "DER: cut off")
    tag, length, head = data[at], data[at + 1], 2
    if length & 0x80:
        count = length & 0x7F
        need(1 <= count <= 4 and at + 2 + count <= len(data), "DER: a length")
        length, head = int.from_bytes(data[at + 2:at + 2 + count], "big"), 2 + count
        need(length >= 0x80 and (length >> 8 * (count - 1)), "DER: a length that is not minimal")
    end = at + head + length
    need(end <= len(data), "DER: cut off")
    return tag, data[at + head:end], data[at:end], end


def elements(content):
    out, at = [], 0
    while at < len(content):
        tag, inner, whole, at = tlv(content, at)
        out.append((tag, inner, whole))
    return out


def only(data, tag):
    found, content, _, end = tlv(data)
    need(found == tag and end == len(data), "DER: another element than expected")
    return content


def oid(content):
    need(content and not content[-1] & 0x80, "DER: an OID")
    numbers, value = [], 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first] + numbers[1:]))


def enc(tag, content):
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def integer(value):
    return enc(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bits(content):
    need(content[:1] == b"\0", "DER: a BIT STRING that is not of octets")
    return content[1:]


def moment(tag, content):
    text = content.decode("ascii", "replace")
    if tag == 0x17:
        need(re.fullmatch(r"\d{12}Z", text), "a time")
        text = ("20" if text < "5" else "19") + text
    need(re.fullmatch(r"\d{14}Z", text), "a time")
    when = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    return int((when - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds())


class Certificate:
    """Read, never believed."""

    def __init__(self, der):
        try:
            self.read(der)
        except (IndexError, ValueError, UnicodeDecodeError) as error:
            raise No(f"a certificate cannot be read: {error}") from error

    def read(self, der):
        self.der = der
        (_, _, self.tbs), (_, _, self.algorithm), (tag, signature, _) = elements(only(der, 0x30))
        need(tag == 3, "a certificate without a signature")
        self.signature = bits(signature)
        fields = elements(only(self.tbs, 0x30))
        need(fields[0][0] == 0xA0 and fields[0][1] == b"\2\1\2", "not a certificate of version 3")
        need(fields[2][2] == self.algorithm, "inner and outer algorithm differ")
        self.serial, self.issuer, self.subject, self.spki = fields[1][1], fields[3][2], fields[5][2], fields[6][2]
        self.not_before, self.not_after = [moment(tag, content) for tag, content, _ in elements(fields[4][1])]
        self.extensions, self.critical = {}, set()
        for tag, content, _ in fields[7:]:
            if tag != 0xA3:
                continue
            for _, extension, _ in elements(only(content, 0x30)):
                parts = elements(extension)
                name = oid(parts[0][1])
                need(name not in self.extensions, f"extension {name} twice")
                if len(parts) == 3:
                    need(parts[1][2] == b"\1\1\xff", "DER: a BOOLEAN")
                    self.critical.add(name)
                self.extensions[name] = parts[-1][1]
        self.ca, self.path_len = False, None
        basic = self.extensions.get("2.5.29.19")
        if basic is not None:
            for tag, content, _ in elements(only(basic, 0x30)):
                if tag == 1:
                    self.ca = content == b"\xff"
                if tag == 2:
                    self.path_len = int.from_bytes(content, "big")
        usage = self.extensions.get("2.5.29.15")
        self.usage = None if usage is None else only(usage, 3)[1]
        purposes = self.extensions.get("2.5.29.37")
        self.purposes = None if purposes is None else [oid(content) for _, content, _ in elements(only(purposes, 0x30))]

    def policies(self):
        value = self.extensions.get("2.5.29.32")
        return [] if value is None else [oid(elements(content)[0][1]) for _, content, _ in elements(only(value, 0x30))]


def verify(spki, algorithm, message, signature):
    """Whether the key signed; the algorithm is DER. SHA-2 only."""
    parts = elements(only(algorithm, 0x30))
    name = oid(parts[0][1])
    key = serialization.load_der_public_key(spki)
    ecdsa = {"1.2.840.10045.4.3.2": hashes.SHA256, "1.2.840.10045.4.3.3": hashes.SHA384, "1.2.840.10045.4.3.4": hashes.SHA512}
    pkcs1 = {"1.2.840.113549.1.1.11": hashes.SHA256, "1.2.840.113549.1.1.12": hashes.SHA384,
             "1.2.840.113549.1.1.13": hashes.SHA512}
    sha2 = {"2.16.840.1.101.3.4.2.1": hashes.SHA256, "2.16.840.1.101.3.4.2.2": hashes.SHA384,
            "2.16.840.1.101.3.4.2.3": hashes.SHA512}
    if name in ecdsa:
        need(isinstance(key, ec.EllipticCurvePublicKey), "a key of another kind")
        key.verify(signature, message, ec.ECDSA(ecdsa[name]()))
    elif name in pkcs1:
        need(isinstance(key, rsa.RSAPublicKey), "a key of another kind")
        key.verify(signature, message, padding.PKCS1v15(), pkcs1[name]())
    elif name == "1.2.840.113549.1.1.10":
        parameters = {tag: content for tag, content, _ in elements(parts[1][1])}
        hash_of = lambda der: sha2.get(oid(elements(only(der, 0x30))[0][1]))
        md = hash_of(parameters[0xA0])
        mgf = elements(only(parameters[0xA1], 0x30))
        salt = int.from_bytes(only(parameters[0xA2], 2), "big")
        need(md and hash_of(mgf[1][2]) is md and salt == md().digest_size, "RSASSA-PSS with odd parameters")
        key.verify(signature, message, padding.PSS(padding.MGF1(md()), salt), md())
    else:
        raise No(f"signature algorithm {name}")


def signed(spki, algorithm, message, signature):
    try:
        verify(spki, algorithm, message, signature)
        return True
    except (No, InvalidSignature, UnsupportedAlgorithm, ValueError, KeyError, IndexError):
        return False


def issued(parent, child):
    return child.issuer == parent.subject and signed(parent.spki, child.algorithm, child.tbs, child.signature)


# --- TPM 2.0 Part 2 -----------------------------------------------------------------------------------------------------

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "a TPM structure is cut off")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def sized(self, most=0xFFFF):
        length = self.number(2)
        need(length <= most, "a TPM structure has a field that is too long")
        return self.take(length)

    def end(self):
        need(self.at == len(self.data), "bytes behind a TPM structure")


class Public:
    """TPMT_PUBLIC of an RSA or ECC key."""

    def __init__(self, data):
        r, self.raw = Reader(data), data
        self.kind, self.name_alg, self.attributes = r.number(2), r.number(2), r.number(4)
        need(self.name_alg in (4, 0x0B, 0x0C, 0x0D, 0x10), "nameAlg")
        need(not self.attributes & ~0x000F0CF6, "reserved attributes")
        self.policy = r.sized(64)
        need(self.kind in (1, 0x23), "not an asymmetric key")
        self.symmetric = r.number(2)
        need(self.symmetric in (0x10, 6, 0x13, 0x26, 3), "symmetric")
        self.symmetric = None if self.symmetric == 0x10 else (self.symmetric, r.number(2), r.number(2))
        self.scheme, self.hash, self.kdf, self.exponent = r.number(2), None, None, 0
        if self.kind == 1:
            need(self.scheme in (0x10, 0x15, 0x14, 0x16, 0x17), "scheme")
            if self.scheme in (0x14, 0x16, 0x17):
                self.hash = r.number(2)
            self.size, self.exponent = r.number(2), r.number(4)
            self.modulus = r.sized()
        else:
            need(self.scheme in (0x10, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D), "scheme")
            if self.scheme != 0x10:
                self.hash = r.number(2)
            if self.scheme == 0x1A:
                r.number(2)
            self.size = r.number(2)
            self.kdf = r.number(2)
            need(self.kdf in (0x10, 7, 0x20, 0x21, 0x22), "kdf")
            self.kdf = None if self.kdf == 0x10 else (self.kdf, r.number(2))
            self.x, self.y = r.sized(), r.sized()
        r.end()

    def name(self):
        algorithm = {4: hashlib.sha1, **HASHES}.get(self.name_alg)
        return self.name_alg.to_bytes(2, "big") + algorithm(self.raw).digest() if algorithm else b""

    def spki(self):
        """SubjectPublicKeyInfo of a sound key."""
        if self.kind == 1:
            need(self.size in (2048, 3072, 4096) and self.exponent in (0, 65537), "RSA of another size or exponent")
            n = int.from_bytes(self.modulus, "big")
            need(len(self.modulus) * 8 == self.size and n.bit_length() == self.size, "an RSA modulus of another size")
            weak(n)
            key = enc(0x30, integer(n) + integer(65537))
            return enc(0x30, enc(0x30, bytes.fromhex("06092a864886f70d0101010500")) + enc(3, b"\0" + key))
        curve = {3: (ec.SECP256R1, 32, "2a8648ce3d030107"), 4: (ec.SECP384R1, 48, "2b81040022"), 5: (ec.SECP521R1, 66, "2b81040023")}
        need(self.size in curve, "another curve")
        kind, length, name = curve[self.size]
        need(len(self.x) <= length and len(self.y) <= length, "a coordinate that is too long")
        point = b"\4" + self.x.rjust(length, b"\0") + self.y.rjust(length, b"\0")
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(kind(), point)
        except ValueError as error:
            raise No("a point that is not on its curve") from error
        algorithm = enc(0x30, bytes.fromhex("06072a8648ce3d0201") + enc(6, bytes.fromhex(name)))
        return enc(0x30, algorithm + enc(3, b"\0" + point))

    def signer(self, wanted):
        """A signing key: attributes, then algorithms. fixedTPM, fixedParent, sensitiveDataOrigin, restricted, decrypt, sign are
        judged; stClear, encryptedDuplication and x509sign may not be there."""
        need(self.attributes & 0x00070032 == wanted and not self.attributes & 0x00080804, f"attributes {self.attributes:#010x}")
        need(self.name_alg in HASHES, "nameAlg")
        need(self.symmetric is None and self.kdf is None, "a signing key with symmetric or kdf")
        need(self.size in ((2048, 3072) if self.kind == 1 else (3, 4)), "another size or curve")


def weak(n):
    need(n & 1, "an even modulus")
    primes = [p for p in range(3, 752, 2) if all(p % q for q in range(3, math.isqrt(p) + 1, 2))]
    roca = True
    for prime in [p for p in primes if p <= 167]:
        powers, power = set(), 1
        while power not in powers:
            powers.add(power)
            power = power * 65537 % prime
        roca = roca and n % prime in powers
    need(not roca, "a modulus with the ROCA fingerprint")
    need(all(n % prime for prime in primes), "a modulus with a small factor")
    root = math.isqrt(n)
    for a in range(root, root + 111):
        rest = a * a - n
        need(rest < 0 or math.isqrt(rest) ** 2 != rest, "a modulus of primes too close together")


def attestation_key(data):
    key = Public(data)
    key.signer(0x00050032)
    allowed = {(1, 2048): {(0x14, 0x0B), (0x14, 0x0C), (0x16, 0x0B), (0x16, 0x0C)}, (0x23, 3): {(0x18, 0x0B)},
               (0x23, 4): {(0x18, 0x0B), (0x18, 0x0C)}}
    allowed[1, 3072] = allowed[1, 2048]
    need((key.scheme, key.hash) in allowed[key.kind, key.size], "scheme of the attestation key")
    key.info = key.spki()
    return key


def identity_key(data):
    key = Public(data)
    key.signer(0x00040032)
    schemes = (0x14, 0x16) if key.kind == 1 else (0x18,)
    need(key.scheme == 0x10 or key.scheme in schemes and key.hash in HASHES, "scheme of the identity key")
    key.info = key.spki()
    return key


def qualifying(fields, role=None):
    """What a statement is said over; by an IAK, of a key in a role."""
    renewed = fields["renewed"]
    if role is None:
        head = b"holdfast-certify-v1\0" if renewed is None else b"holdfast-renew-v1\0"
    else:
        head = b"holdfast-iak-certify-v1\0" if renewed is None else b"holdfast-iak-renew-v1\0"
    need(len(fields["id"]) == 16 and len(fields["nonce"]) == 32 and (renewed is None or len(renewed) == 32), "a field's length")
    return sha256(head + fields["id"] + fields["nonce"] + sha256(fields["csr"]) + (role or b"") + (renewed or b""))


def certified(ak, key, attest, signature, want):
    """TPM2_Certify: parsed first, believed last."""
    r = Reader(attest)
    need(r.take(4) == b"\xffTCG", "magic: not made by a TPM")
    need(r.number(2) == 0x8017, "type: not a certification")
    r.sized(66)
    extra = r.sized(66)
    r.take(8 + 4 + 4)
    need(r.number(1) in (0, 1), "safe")
    r.take(8)
    name = r.sized(66)
    r.sized(66)
    r.end()
    s = Reader(signature)
    scheme = s.number(2)
    need(scheme in (0x14, 0x16, 0x18), "signature scheme")
    digest = s.number(2)
    parts = [s.sized(512)] if scheme != 0x18 else [s.sized(66), s.sized(66)]
    s.end()
    need(extra == want, "qualifying data: of another conversation or request")
    need(name and name == key.name(), "Name: of another key")
    need((scheme, digest) == (ak.scheme, ak.hash), "signed with another scheme than the attestation key's")
    md = {0x0B: hashes.SHA256, 0x0C: hashes.SHA384}[digest]()
    public = serialization.load_der_public_key(ak.info)
    try:
        if scheme == 0x18:
            r, s = [int.from_bytes(part, "big") for part in parts]
            need(r > 0 and s > 0, "a signature of zeros")
            public.verify(utils.encode_dss_signature(r, s), attest, ec.ECDSA(md))
        elif scheme == 0x14:
            public.verify(parts[0], attest, padding.PKCS1v15(), md)
        else:
            public.verify(parts[0], attest, padding.PSS(padding.MGF1(md), md.digest_size), md)
    except (InvalidSignature, ValueError) as error:
        raise No("the signature is not the attestation key's") from error


LOW, HIGH = 0x000300B2, 0x000300F2
POLICY_A = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
POLICY_B = {
    0x0B: "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0",
    0x0C: "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12",
    0x0D: "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d57edb25fbdb183842"
          "5608b413cd616a5f6db5b6071af99bea",
}
TEMPLATES = {"L-1": (1, 2048, 0x0B, LOW, 128), "L-2": (0x23, 3, 0x0B, LOW, 128), "H-1": (1, 2048, 0x0B, HIGH, 128),
             "H-2": (0x23, 3, 0x0B, HIGH, 128), "H-3": (0x23, 4, 0x0C, HIGH, 256), "H-4": (0x23, 5, 0x0D, HIGH, 256),
             "H-6": (1, 3072, 0x0C, HIGH, 256), "H-7": (1, 4096, 0x0C, HIGH, 256)}


def template(ek):
    for name, (kind, size, name_alg, attributes, aes) in TEMPLATES.items():
        policy = POLICY_A if attributes == LOW else POLICY_B[name_alg]
        if ((ek.kind, ek.size, ek.name_alg, ek.attributes, ek.symmetric, ek.scheme, ek.kdf, ek.policy.hex())
                == (kind, size, name_alg, attributes, (6, aes, 0x43), 0x10, None, policy) and ek.exponent in (0, 65537)):
            return name
    raise No("the EK follows no TCG template")


# --- the endorsement ----------------------------------------------------------------------------------------------------

PROCESSED = {"2.5.29.15", "2.5.29.19", "2.5.29.32", "2.5.29.37"}


EK, IAK = "2.23.133.8.1", "2.23.133.8.3"


def maker_ca(certificate, purpose):
    """What a CA above an EK, or above an IAK, must be."""
    need(certificate.ca and "2.5.29.19" in certificate.critical, "not a CA, or not critically one")
    need(certificate.critical <= PROCESSED, "a critical extension that is not processed")
    need(not certificate.extensions.keys() & {"2.5.29.30", "2.5.29.36", "2.5.29.54"}, "constraints that are not processed")
    need(certificate.usage is not None and certificate.usage & 4, "keyUsage lacks keyCertSign")
    need(certificate.purposes is None or set(certificate.purposes) & {purpose, "2.5.29.37.0"}, "extKeyUsage of a CA")
    need(len(certificate.subject) > 2, "a CA without a name")


def ek_profile(certificate, ek, kind):
    """The EK certificate's own shape; the name of the TPM."""
    need(certificate.critical <= PROCESSED | {"2.5.29.17"}, "a critical extension that is not processed")
    need(not certificate.ca, "it is a CA certificate")
    if certificate.usage is not None:
        need(certificate.usage & (0x20 if ek.kind == 1 else 0x08) and not certificate.usage & 4, "keyUsage")
    if certificate.purposes is None:
        need(kind == "virtual" and certificate.usage is not None, "extKeyUsage is missing")
    else:
        need("2.23.133.8.1" in certificate.purposes, "extKeyUsage lacks tcg-kp-EKCertificate")
    need(len(certificate.subject) > 2 or "2.5.29.17" in certificate.critical, "no subject, and subjectAltName is not critical")
    need(certificate.spki == ek.spki(), "the EK is not the certified key")
    names = {}
    san = certificate.extensions.get("2.5.29.17")
    for tag, content, _ in elements(only(san, 0x30)) if san is not None else []:
        if tag != 0xA4:
            continue
        for _, rdn, _ in elements(only(content, 0x30)):
            for _, attribute, _ in elements(rdn):
                (_, kind_of, _), (string, value, _) = elements(attribute)
                if oid(kind_of) in ("2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3"):
                    need(string in (0x0C, 0x13) and oid(kind_of) not in names, "an attribute of the TPM")
                    names[oid(kind_of)] = value.decode("utf-8")
    if not names:
        return None
    need(len(names) == 3, "the attributes of the TPM are not all there")
    need(re.fullmatch(r"id:[0-9A-Fa-f]{8}", names["2.23.133.2.1"]), "tpmManufacturer")
    need(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._:()/-]{0,63}", names["2.23.133.2.2"]) and names["2.23.133.2.2"][-1] != " ", "tpmModel")
    need(re.fullmatch(r"id:[0-9A-Fa-f]{1,16}", names["2.23.133.2.3"]), "tpmVersion")
    return names["2.23.133.2.1"].upper().replace("ID:", "id:")


def down(path, offered, leaf, purpose=EK):
    """The path grown from the anchor down to the leaf; no key is used before it is proven."""
    left = None
    for place, ca in enumerate(path):
        if place and ca.subject != ca.issuer and left is not None:
            if not left:
                return None
            left -= 1
        left = ca.path_len if left is None else left if ca.path_len is None else min(left, ca.path_len)
    if issued(path[-1], leaf):
        return path + [leaf]
    for der in offered:
        try:
            ca = Certificate(der)
            maker_ca(ca, purpose)
        except No:
            continue
        if all(ca.der != each.der for each in path) and issued(path[-1], ca):
            longer = down(path + [ca], offered, leaf, purpose)
            if longer:
                return longer
    return None


def from_anchor(bundle, certificate, purpose, enforce_expiry, at):
    """A path from the anchor in the bundle to this certificate, at this time."""
    anchor, *offered = bundle["path"] or [None]
    need(anchor, "there is no anchor")
    anchor = Certificate(anchor)
    maker_ca(anchor, purpose)
    need(issued(anchor, anchor), "the anchor is not self-signed")
    path = down([anchor], offered, certificate, purpose)
    need(path, "no path from the anchor to the certificate")
    for each in path:
        need(each.not_before <= at, "a certificate of the path was not yet valid")
        need(at <= each.not_after or not enforce_expiry, "a certificate of the path had expired")


RESIDENCY, FIXED, RESTRICTED = "2.23.133.11.1.1", "2.23.133.11.1.2", "2.23.133.11.1.3"


def maker_leaf(certificate):
    """What IAK and IDevID certificates have in common."""
    need(certificate.critical <= PROCESSED | {"2.5.29.17"}, "a critical extension that is not processed")
    need(not certificate.ca, "it is a CA certificate")
    need(certificate.usage is None or certificate.usage & 0x84 == 0x80, "keyUsage")
    need(len(certificate.subject) > 2, "it names no device")


def iak_endorsement(bundle, fields, word, at):
    """The manufacturer's word; SHA-256 of certificate, key and anchor, the EK it names, and the level."""
    key = attestation_key(fields["iak_public"])
    certificate = Certificate(fields["certificate"])
    maker_leaf(certificate)
    policies = certificate.policies()
    need({RESIDENCY, RESTRICTED} <= set(policies), "its policies do not say that it is an IAK's")
    need(certificate.purposes is None or IAK in certificate.purposes, "extKeyUsage lacks tcg-kp-AIKCertificate")
    ek = None
    if ARC + "1.1" in certificate.extensions:
        leaf = Leaf(fields["certificate"])
        need(leaf.iak is None and leaf.ak == leaf.ik, "its RoT binding is not an IAK's")
        need(leaf.ik == key.name(), "the certificate names another public area of this key")
        ek = leaf.ek
        need(len(ek) == 32, "its RoT binding has a digest of another length")
    need(certificate.spki == key.info, "the IAK is not the certified key")
    terms = word["terms"]
    from_anchor(bundle, certificate, IAK, terms["enforce_expiry"], at)
    if fields["idevid"]:
        idevid = Certificate(fields["idevid"])
        maker_leaf(idevid)
        need(RESTRICTED not in idevid.policies() and FIXED in idevid.policies(), "it is no IDevID certificate")
        need(idevid.subject == certificate.subject, "the IDevID certificate is of another device")
        from_anchor(bundle, idevid, IAK, terms["enforce_expiry"], at)
    level = "manufacturer-verified"
    for less in ("virtual", "software"):
        if terms["kind"] == less or ARC + LEVELS[less] in policies:
            level = less
    return {"certificate": sha256(fields["certificate"]), "spki": sha256(key.info), "anchor": sha256(bundle["path"][0]), "ek": ek,
            "level": level}


def endorsement(bundle, fields, word, at):
    """On whose word the EK is believed; SHA-256 of its key, template and level."""
    ek = Public(fields["ek_public"])
    kind, how, der = word["kind"], word["word"], fields["ek_certificate"]
    found = (sha256(ek.spki()).hex(), template(ek))
    if how == "allow-list":
        need(not der, "there is an EK certificate after all")
    else:
        certificate = Certificate(der)
        manufacturer = ek_profile(certificate, ek, kind)
    if how != "chain":
        need(how == "allow-list" or manufacturer, "subjectAltName names no TPM")
        return (*found, "hardware-allowlisted" if kind == "hardware" else kind)
    from_anchor(bundle, certificate, EK, word["enforce_expiry"], at)
    manufacturers = [each.upper().replace("ID:", "id:") for each in word["manufacturers"]]
    need(manufacturers, "the anchor speaks for nobody")
    if manufacturer is None:
        need(kind == "virtual" and len(manufacturers) == 1, "subjectAltName names no TPM")
        manufacturer = manufacturers[0]
    need(manufacturer in manufacturers, f"the anchor may not speak for {manufacturer}")
    return (*found, {"hardware": "hardware-verified"}.get(kind, kind))


# --- what the CA wrote --------------------------------------------------------------------------------------------------

def record(data):
    """The evidence record, of an EK or of a manufacturer's IAK."""
    ek = ["id", "ek_certificate", "ek_public", "ak_public", "key_public", "nonce", "attest", "signature", "csr"]
    iak = ["id", "certificate", "idevid", "chain", "iak_public", "lak_public", "key_public", "nonce", "attest", "signature",
           "lak_attest", "lak_signature", "csr"]
    for head, names in [(b"holdfast-evidence-v1\0", ek), (b"holdfast-renewal-v1\0", ek + ["renewed"]),
                        (b"holdfast-iak-evidence-v1\0", iak), (b"holdfast-iak-renewal-v1\0", iak + ["renewed"])]:
        if data.startswith(head):
            break
    else:
        raise No("not an evidence record")
    values = sized(data[len(head):])
    need(len(values) == len(names), "fields are missing in the record, or there are too many")
    fields = {"renewed": None, **dict(zip(names, values))}
    sized(fields.get("chain", b""))
    return fields


def sized(data):
    """Fields, each behind its length."""
    at, values = 0, []
    while at < len(data):
        need(at + 4 <= len(data), "the record is cut off")
        end = at + 4 + int.from_bytes(data[at:at + 4], "big")
        need(end <= len(data), "the record is cut off")
        values.append(data[at + 4:end])
        at = end
    return values


def strict(data, what):
    """JSON in the one form there is: compact, nothing twice."""
    def once(pairs):
        need(len({key for key, _ in pairs}) == len(pairs), f"{what}: a member twice")
        return dict(pairs)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=once)
        again = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise No(f"{what}: not JSON: {error}") from error
    need(again == data, f"{what} is not written as one is")
    return value


def shape(value, members, what):
    """Members in this order, each of its kind; a name with ? may be missing."""
    need(isinstance(value, dict), f"{what} is no object")
    wanted = [(name.rstrip("?"), kind) for name, kind in members.items() if not name.endswith("?") or name.rstrip("?") in value]
    need(list(value) == [name for name, _ in wanted], f"{what} has other members")
    for name, kind in wanted:
        got = value[name]
        if kind is list:
            need(isinstance(got, list) and all(isinstance(each, str) for each in got), f"{what}: {name}")
        else:
            need(isinstance(got, kind) and not (kind is int and isinstance(got, bool)), f"{what}: {name}")


def transcript(data):
    value = strict(data, "the transcript")
    need(len(data) <= 65536, "the transcript is too long")
    shape(value, {"v": str, "enrollment": str, "nonce": str, "evidence": str, "ca": dict, "policy?": str,
                  "asked": dict, "challenged_at": int,
                  "expires_at": int, "decided_at": int, "root": dict, "device": str, "inventory?": dict, "decisions": object, "renewed?": str,
                  "same_key?": bool}, "the transcript")
    need(value["v"] == "holdfast-transcript/v1", "a transcript of another version")
    shape(value["ca"], {"name": str, "version": str}, "ca")
    shape(value["asked"], {"profile": str, "attestation_profile?": str, "device?": str}, "asked")
    if "inventory" in value:
        shape(value["inventory"], {"bound": bool, "held": bool, "batch?": str, "dns_names": list, "spiffe_id?": str,
                                   "accepted_advisories": list}, "inventory")
    need(isinstance(value["decisions"], list), "decisions")
    for one in value["decisions"]:
        shape(one, {"profile": str, "profile_sha256": str, "policy_sha256": str, "rules": list, "reasons": list}, "a decision")
    root = value["root"]
    if root.get("basis") == "iak-certified":
        shape(root, {"basis": str, "iak_certificate_sha256": str, "anchor": str, "anchor_sha256": str, "assurance": str,
                     "terms?": dict}, "root")
        if "terms" in root:
            shape(root["terms"], {"kind": str, "enforce_expiry": bool, "path": list}, "terms")
        return value
    need(root.get("basis") == "ek-activation", "another basis")
    shape(root, {"basis": str, "ek_spki_sha256": str, "word": str, "anchor": str, "kind": str, "manufacturers": list,
                 "enforce_expiry": bool, "path": list, "passed": list, "template": str, "assurance": str, "activation": dict}, "root")
    need(root["word"] in ("chain", "allow-list", "review"), "nobody's word")
    shape(root["activation"], {"method": str, "ak_name": str, "answer": str}, "activation")
    return value


def word_of(told, fields):
    """What the transcript says of the root of trust, of the kind that the record is of."""
    word = told["root"]
    by_iak = word["basis"] == "iak-certified"
    need(by_iak == ("iak_public" in fields), "the transcript is of another kind of proof than the record")
    if by_iak:
        need("terms" in word, "its transcript is of before they said on what terms an IAK was believed: it cannot be checked again")
    need((word["terms"] if by_iak else word)["kind"] in ("hardware", "virtual", "software"), "a kind of TPM that is not known here")
    return word


class Leaf(Certificate):
    """The certificate in question, with its RoT-binding."""

    def read(self, der):
        super().read(der)
        value = self.extensions.get(ARC + "1.1")
        need(value is not None, "the certificate has no RoT-binding extension")
        fields = elements(only(value, 0x30))
        need(fields[0][2] in (b"\2\1\1", b"\2\1\2"), "the RoT-binding is of another version")
        if fields[0][2] == b"\2\1\1":
            need([tag for tag, _, _ in fields[:6]] == [2, 10, 4, 4, 4, 4], "the RoT-binding")
            self.ek, self.ak, self.ik, self.evidence = [content for _, content, _ in fields[2:6]]
            self.iak = None
        else:
            need([tag for tag, _, _ in fields[:8]] == [2, 10, 10, 4, 4, 4, 4, 4], "the RoT-binding")
            self.iak = [content for _, content, _ in fields[3:5]]
            self.ak, self.ik, self.evidence = [content for _, content, _ in fields[5:8]]
            self.ek = fields[8][1] if len(fields) > 8 else None


# --- the ledger ---------------------------------------------------------------------------------------------------------

def entry(data):
    value = strict(data, "the entry")
    shape(value, {"v": int, "at": int, "event": str, "issuer": str, "serial": str, "certificate": str, "evidence?": str, "profile": str,
                  "profile_sha256": str, "transcript?": str}, "the entry")
    need(value["v"] == 1 and value["event"] == "issued", "the entry is not of a certificate")
    return value


def unbase64(text, length=None):
    try:
        out = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise No("not base64") from error
    need(base64.b64encode(out).decode() == text and length in (None, len(out)), "not base64 of the right length")
    return out


def proof(data):
    """C2SP tlog-proof: place, path, checkpoint (text and signature lines)."""
    try:
        text = data.decode("utf-8")
    except ValueError as error:
        raise No("the proof is not text") from error
    need(text.startswith("c2sp.org/tlog-proof@v1\n"), "not a proof of a ledger")
    head, _, note = text[len("c2sp.org/tlog-proof@v1\n"):].partition("\n\n")
    first, *path = head.split("\n")
    need(re.fullmatch(r"index (0|[1-9][0-9]*)", first), "the proof has no index")
    need(len(path) <= 63, "the path is too long")
    body, _, signatures = note.rpartition("\n\n")
    body += "\n"
    lines = [re.fullmatch("\u2014 ([^ +\n]+) ([A-Za-z0-9+/=]+)", line) for line in signatures.split("\n")[:-1]]
    need(lines and all(lines) and signatures.endswith("\n"), "the checkpoint has no signature")
    lines = [(line[1], unbase64(line[2])) for line in lines]
    fields = body.split("\n")
    need(len(fields) >= 4 and all(fields[:-1]) and re.fullmatch(r"0|[1-9][0-9]*", fields[1]), "not a checkpoint")
    need(all(len(raw) > 4 for _, raw in lines), "a signature that is too short")
    return {"index": int(first[6:]), "path": [unbase64(line, 32) for line in path], "text": body, "signatures": lines,
            "origin": fields[0], "size": int(fields[1]), "root": unbase64(fields[2], 32)}


def root_of(leaf, index, size, path):
    """RFC 6962 section 2.1.1, as RFC 9162 section 2.1.3.2 computes it."""
    need(index < size, "the entry lies outside of the tree")
    node, last, rest = sha256(b"\0" + leaf), size - 1, index
    for sibling in path:
        need(last, "the path is too long")
        if rest & 1 or rest == last:
            node = sha256(b"\1" + sibling + node)
            while not rest & 1 and rest:
                rest, last = rest >> 1, last >> 1
        else:
            node = sha256(b"\1" + node + sibling)
        rest, last = rest >> 1, last >> 1
    need(last == 0, "the path is too short")
    return node


def ledger_key(text):
    match = re.fullmatch(r"([^ +]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", text.strip())
    need(match, "not the key of a ledger")
    raw = unbase64(match[3], 33)
    need(raw[0] == 1 and sha256(match[1].encode() + b"\n" + raw)[:4].hex() == match[2], "not the key of a ledger")
    return match[1], bytes.fromhex(match[2]), ed25519.Ed25519PublicKey.from_public_bytes(raw[1:])


def logged(bundle, leaf, told, keys):
    need(bundle["entry"] is not None, "the bundle holds no proof of a ledger")
    said = entry(bundle["entry"])
    for name, of in [("certificate", "certificate"), ("evidence", "evidence"), ("transcript", "transcript")]:
        need(said.get(name) == sha256(bundle[of]).hex(), f"the entry says another {name}")
    leaf, told = leaf(), told()
    need(said["serial"] == leaf.serial.hex(), "the entry says another serial")
    need(any((one["profile"], one["profile_sha256"]) == (said["profile"], said["profile_sha256"]) for one in told["decisions"]),
         "the entry says another profile")
    need(said["at"] == told["decided_at"], "the entry says another time")
    found, why = proof(bundle["proof"]), "no key of a ledger is among those you trust"
    for name, key_id, key in keys:
        lines = [raw[4:] for line, raw in found["signatures"] if line == name and raw[:4] == key_id]
        if name != found["origin"] or not lines:
            why = "the checkpoint is of another ledger"
            continue
        try:
            for signature in lines:
                key.verify(signature, found["text"].encode())
        except InvalidSignature:
            why = "the signature of the ledger is wrong"
            continue
        if root_of(bundle["entry"], found["index"], found["size"], found["path"]) != found["root"]:
            why = "the proof does not lead to the root of the checkpoint"
            continue
        return f"entry {found['index']} of {found['size']} in {name}"
    raise No(why)


def vouched(bundle, leaf):
    need(bundle["proof"] is not None, "the bundle holds no proof of a ledger")
    found = proof(bundle["proof"])
    leaf = leaf()
    chain = [Certificate(der) for der in bundle["issuers"]]
    for below, (child, parent) in enumerate(zip(chain, chain[1:] + chain[-1:])):
        need(child.ca and child.usage is not None and child.usage & 4, "an issuer that is no CA")
        need(issued(parent, child), "the chain of the CA does not hold together")
        need(parent is child or parent.path_len is None or parent.path_len > below, "the chain of the CA is too long")
    ca = chain[0]
    need(signed(ca.spki, leaf.algorithm, leaf.tbs, leaf.signature), "the CA in the bundle did not sign the certificate")
    own = b"holdfast-ca-key/v1\n"
    key_id = sha256(found["origin"].encode() + b"\n" + b"\xff" + own + ca.spki)[:4]
    lines = [raw[4:] for name, raw in found["signatures"] if name == found["origin"] and raw[:4] == key_id]
    need(lines, "the checkpoint is not signed by the CA's key; a later proof may be")
    need(any(signed(ca.spki, leaf.algorithm, own + found["text"].encode(), line) for line in lines),
         "the signature of the CA's key over the checkpoint is wrong")
    return f"the CA's key signed the tree of {found['size']} entries"


# --- the policy ---------------------------------------------------------------------------------------------------------

NOT_AGAIN = "not decided again: "


def policy_text(bundle, told):
    """The archived policy, if it is there: the one that the transcript names."""
    if "policy" not in told:
        return None, "it is of before policies were archived"
    if bundle["policy"] is None:
        need("inventory" not in told, "the policy is not in this file, and was when it was exported")
        return None, "the policy is not in this file"
    data = bundle["policy"]
    need(sha256(data).hex() == told["policy"], f"sha256 {sha256(data).hex()}, the transcript names {told['policy']}")
    need(len(data) <= 512 * 1024, "the policy is too long")
    value = strict(data, "the policy")
    shape(value, {"v": str, "rehearsal": bool, "schema": str, "rules": object, "advisories": object, "profiles": object,
                  "organization?": str}, "the policy")
    need(value["v"] == "holdfast-policy/v1", "a policy of another version")
    for name in ("rules", "advisories", "profiles"):
        need(isinstance(value[name], list), name)
        for one in value[name]:
            shape(one, {"file": str, "text": str}, name)
    return value, None


def rule_ids(cedar):
    """Ids of the rules of a Cedar text: annotations outside of comments and other strings."""
    tokens = re.findall(r'//[^\n]*|"(?:[^"\\]|\\.)*"|@\w+|\w+|[()]', cedar)
    tokens = [token for token in tokens if not token.startswith("//")]
    return {json.loads(tokens[at + 2]) for at in range(len(tokens) - 3)
            if tokens[at] == "@id" and tokens[at + 1] == "(" and tokens[at + 2].startswith('"') and tokens[at + 3] == ")"}


def policy(bundle, told):
    """The policy has what the decisions name: rules by their digest, profiles by theirs, and each rule by its id."""
    value, why = policy_text(bundle, told)
    if value is None:
        return NOT_AGAIN + why
    rules = sorted(value["rules"], key=lambda one: (one["file"].encode(), one["text"].encode()))
    texts = [value["schema"].encode()] + [one["text"].encode() for one in rules]
    digest = sha256(b"".join(len(text).to_bytes(8, "big") + text for text in texts)).hex()
    ids = set().union(*[rule_ids(one["text"]) for one in rules])
    advisories = set(re.findall(r'^\s*id\s*=\s*"([^"]*)"', "\n".join(one["text"] for one in value["advisories"]), re.M))
    for decided in told["decisions"]:
        need(decided["policy_sha256"] == digest, "a decision is of other rules")
        text = [one["text"].encode() for one in value["profiles"] if one["file"] == decided["profile"]]
        # A site's organization is put into profiles that name none, and into their digest.
        digests = {sha256(one) for one in text} | {sha256(sha256(one) + value.get("organization", "").encode()) for one in text}
        need(bytes.fromhex(decided["profile_sha256"]) in digests, f"it has no such profile `{decided['profile']}`")
        for rule in decided["rules"]:
            kind, colon, of = rule.partition(":")
            known = rule in ids if not colon else of in advisories if kind in ("advisory", "review") else \
                kind == "endorsement" and of in ("expired", "unchecked")
            need(known, f"it has no rule `{rule}`")
    return f"sha256 {sha256(bundle['policy']).hex()}, as the transcript says"


# --- the checks ---------------------------------------------------------------------------------------------------------

def path_to(leaf, bundle, roots, at):
    """Certificates from the leaf to a root you trust, at this time."""
    pool = [Certificate(der) for der in bundle["issuers"]]

    def up(child, seen):
        for trusted, parent in [(True, each) for each in roots] + [(False, each) for each in pool]:
            if parent.der in seen or not (parent.ca and parent.usage is not None and parent.usage & 4):
                continue
            if not parent.not_before <= at <= parent.not_after or not issued(parent, child):
                continue
            if parent.path_len is not None and parent.path_len < len(seen) - 1:
                continue
            if trusted:
                return [parent]
            above = up(parent, seen + [parent.der])
            if above:
                return [parent] + above
        return None

    need(leaf.not_before <= at <= leaf.not_after, "the certificate is not valid at this time")
    path = up(leaf, [leaf.der])
    need(path, "no path to a root that you trust")
    return [leaf] + path


def once(function):
    """Computed once; its refusal is everybody's who asks."""
    kept = []

    def ask():
        if not kept:
            try:
                kept.append((True, function()))
            except No as error:
                kept.append((False, str(error)))
        good, value = kept[0]
        if not good:
            raise No(value)
        return value
    return ask


def checks(bundle, given, trust):
    """Every check of the bundle: name, whether it holds, and what was found."""
    leaf = once(lambda: Leaf(bundle["certificate"]))
    fields = once(lambda: record(bundle["evidence"]))
    told = once(lambda: transcript(bundle["transcript"]))
    word = once(lambda: word_of(told(), fields()))
    ready = lambda: (fields(), word())
    by_iak = lambda: "iak_public" in fields()
    keys = once(lambda: (ready(), Public(fields()["ek_public"]).spki())[1])
    judge = lambda: (iak_endorsement if by_iak() else endorsement)(bundle, fields(), word(), told()["challenged_at"])
    judged = once(lambda: (ready(), judge())[1])

    def attestation():
        ready()
        if by_iak():
            return attestation_key(fields()["iak_public"])
        key = attestation_key(fields()["ak_public"])
        need(sha256(key.info) != sha256(keys()), "the attestation key is the EK")
        return key

    ak = once(attestation)
    lak = once(lambda: attestation_key(fields()["lak_public"]) if by_iak() and fields()["lak_public"] else None)
    public = once(lambda: (ready(), Public(fields()["key_public"]))[1])

    def identity():
        key = identity_key(public().raw)
        need(key.info != ak().info, "the identity key is the attestation key")
        if not by_iak():
            need(key.info != keys(), "the identity key is the EK")
            return key
        try:
            ek = judged()["ek"]
        except No:
            ek = None
        need(sha256(key.info) != ek, "the identity key is the EK")
        if lak():
            need(lak().info not in (key.info, ak().info) and sha256(lak().info) != ek, "a key in two roles")
        return key

    ik = once(identity)

    def statements():
        of = fields()
        if not by_iak():
            return certified(ak(), public(), of["attest"], of["signature"], qualifying(of))
        certified(ak(), public(), of["attest"], of["signature"], qualifying(of, b"\0"))
        if of["lak_public"] or of["lak_attest"] or of["lak_signature"]:
            certified(ak(), Public(of["lak_public"]), of["lak_attest"], of["lak_signature"], qualifying(of, b"\1"))

    def same():
        need(sha256(bundle["certificate"]) == sha256(given), "the bundle is of another certificate")
        return "sha256 " + sha256(given).hex()

    def committed():
        need(leaf().evidence == sha256(bundle["evidence"]), "the certificate says another record")
        return "sha256 " + leaf().evidence.hex()

    def about():
        of, said = fields(), told()
        for name, value in [("enrollment", of["id"].hex()), ("nonce", of["nonce"].hex()),
                            ("evidence", sha256(bundle["evidence"]).hex()), ("renewed", of["renewed"] and of["renewed"].hex())]:
            need(said.get(name) == value, f"it is of another record: `{name}` differs")
        need(said["challenged_at"] <= said["decided_at"] <= said["expires_at"], "answered before it was asked, or too late")
        return f"{said['ca']['name']} {said['ca']['version']}: device {said['device']}"

    def believed():
        said = told()["root"]
        path = said["path"] if "path" in said else said.get("terms", {}).get("path")
        need(path in (None, [sha256(der).hex() for der in bundle["path"]]), "the CAs above it are not those of the transcript")
        found, said = judged(), word()
        if by_iak():
            need((found["certificate"].hex(), found["anchor"].hex(), found["level"])
                 == (said["iak_certificate_sha256"], said["anchor_sha256"], said["assurance"]), "the transcript says otherwise")
            need(bundle["path"][0] in trust["iak"], f"the CA believed `{said['anchor']}`, which is not among those you trust")
            return f"{found['level']}, an IAK by the word of its manufacturer `{said['anchor']}`"
        activation = said["activation"]
        need((activation["method"], activation["answer"]) == ("TPM2_MakeCredential", "secret-returned"), "no activation was answered")
        try:
            name = ak().name().hex()
        except No:
            name = activation["ak_name"]
        need(name == activation["ak_name"], "the activation was of another attestation key")
        need(found == (said["ek_spki_sha256"], said["template"], said["assurance"]), f"found {found}, the transcript says otherwise")
        if said["word"] == "chain":
            need(bundle["path"][0] in trust["tpm"], f"the CA believed `{said['anchor']}`, which is not among those you trust")
        return f"{found[2]}, on the word of `{said['anchor']}`"

    def request():
        key = ik()
        csr = fields()["csr"]
        need(len(csr) <= 16384, "a request that is too long")
        try:
            (_, info, whole), (_, _, algorithm), (_, signature, _) = elements(only(csr, 0x30))
            version, subject, spki = [whole for _, _, whole in elements(info)[:3]]
            need(version == b"\2\1\0", "the request is of another version")
            for tag, rdn, _ in elements(only(subject, 0x30)):
                need(tag == 0x31 and rdn, "the request's subject")
        except (IndexError, ValueError) as error:
            raise No("the request cannot be read") from error
        need(signed(spki, algorithm, whole, bits(signature)), "the request is not signed by its key")
        need(spki == key.info, "the request is for another key")
        return "signed by the identity key"

    def names():
        found, mine = judged(), leaf()
        attester, key, other = ak(), ik(), lak()
        if by_iak():
            level, of = found["level"], f"IAK sha256 {found['spki'].hex()}"
            need(mine.iak == [found["certificate"], found["spki"]] and mine.ek == found["ek"],
                 "the certificate names another IAK, or another EK")
        else:
            ek, _, level = found
            of = f"EK sha256 {ek}"
            need(mine.iak is None and mine.ek.hex() == ek, "the certificate names another EK")
            other = attester
        need(mine.ak == attester.name(), "the certificate names another attestation key")
        key = other if other and mine.ik == other.name() else key
        need(mine.ik == key.name() and mine.spki == key.info, "the certificate is of another key")
        need(ARC + LEVELS[level] in mine.policies(), f"the certificate does not say {level}")
        return f"{of}, {level}"

    def again():
        value, why = policy_text(bundle, told())
        return NOT_AGAIN + (why if value is None else "rules are read here, and not evaluated; `ca-cli verify` decides again")

    steps = [same, committed, about, lambda: logged(bundle, leaf, told, trust["ledger"]), lambda: vouched(bundle, leaf), believed,
             lambda: (lak(), f"TPM Name {ak().name().hex()}")[1], lambda: statements() or "by the attestation key",
             lambda: f"TPM Name {ik().name().hex()}", request, names, lambda: policy(bundle, told()), again]
    return [answer(name, step) for name, step in zip(CHECKS, steps)]


def answer(name, step):
    try:
        return name, True, step()
    except No as error:
        return name, False, str(error)
    except (IndexError, ValueError, KeyError, TypeError, AttributeError, RecursionError, UnsupportedAlgorithm) as error:
        return name, False, f"cannot be read: {error!r}"


def verdict(data, given, trust, at, level="hardware-verified", rehearsal=False):
    """All checks of a bundle (bytes) for a certificate (DER)."""
    try:
        bundle = read_bundle(data)
    except No as error:
        return [("bundle", False, str(error))]
    everyone = bundle["issuers"] + trust["ca"]

    def chain():
        return path_to(Certificate(given), bundle, [Certificate(der) for der in trust["ca"]], at)

    def marked():
        marks = [der for der in [given] + everyone if ARC + "1.2" in Certificate(der).extensions]
        need(rehearsal or not marks, "it is of a rehearsal")
        return "of a rehearsal, as you accept" if marks else "no rehearsal mark"

    def assured():
        claimed = [name for name in LEVELS if ARC + LEVELS[name] in Certificate(given).policies()]
        need(len(claimed) == 1, "no single level")
        need(list(LEVELS).index(claimed[0]) >= list(LEVELS).index(level), f"{claimed[0]}, asked for at least {level}")
        try:
            between = chain()[1:-1]
        except No:
            between = []
        for ca in between:
            need({ARC + LEVELS[claimed[0]], "2.5.29.32.0"} & set(ca.policies()), "a CA that may not issue under this level")
        return claimed[0]

    return [answer("chain", lambda: f"{len(chain())} certificates"), answer("rehearsal", marked), answer("level", assured),
            ("bundle", True, "sha256 " + sha256(data).hex())] + checks(bundle, given, trust)


def certificates(data):
    if data[:1] == b"\x30":
        return [data]
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----", data)
    need(blocks, "no certificate in it")
    return [base64.b64decode(block) for block in blocks]


def load_trust(path):
    """Whom you believe: a folder or a zip of one."""
    path = pathlib.Path(path)
    if path.is_dir():
        files = [(file.parent.name, file.read_bytes()) for file in sorted(path.glob("*/*")) if file.is_file()]
    else:
        with zipfile.ZipFile(path) as zipped:
            names = [name for name in zipped.namelist() if name.count("/") == 1 and not name.endswith("/")]
            files = [(name.split("/")[0], zipped.read(name)) for name in names]
    of = lambda folder: [data for name, data in files if name == folder]
    return {"ca": [der for data in of("ca") for der in certificates(data)], "tpm": [der for data in of("tpm") for der in certificates(data)],
            "iak": [der for data in of("iak") for der in certificates(data)],
            "ledger": [ledger_key(data.decode()) for data in of("ledger")]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("certificate")
    parser.add_argument("bundle")
    parser.add_argument("--trust", required=True)
    parser.add_argument("--at", type=int, default=int(time.time()), help="unix seconds")
    parser.add_argument("--level", choices=list(LEVELS), default="hardware-verified")
    parser.add_argument("--rehearsal", action="store_true", help="accept outputs of a rehearsal; never in production")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        given = certificates(pathlib.Path(arguments.certificate).read_bytes())[0]
        trust = load_trust(arguments.trust)
        data = pathlib.Path(arguments.bundle).read_bytes()
    except (OSError, No, ValueError, zipfile.BadZipFile) as error:
        print(f"bundle.py: {error}", file=sys.stderr)
        return 2
    found = verdict(data, given, trust, arguments.at, arguments.level, arguments.rehearsal)
    refused = [name for name, good, _ in found if not good]
    if arguments.json:
        print(json.dumps({"verdict": "refused" if refused else "valid", "refused": refused,
                          "checks": [{"id": name, "ok": good, "found": text} for name, good, text in found]}))
    else:
        for name, good, text in found:
            mark = "NO" if not good else "--" if str(text).startswith(NOT_AGAIN) else "ok"
            print(f"{mark}  {name:<14}", "".join(c if c.isprintable() else "?" for c in str(text)))
        print("refused: " + ", ".join(refused) if refused else "valid")
    return 3 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
