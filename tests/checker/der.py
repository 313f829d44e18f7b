"""Just enough DER: certificates and CRLs as far as they are checked."""

import calendar
import time


class Der:
    """One element after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def more(self):
        return self.at < len(self.data)

    def next(self):
        start = self.at
        tag, length, body = self.data[start], self.data[start + 1], start + 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(self.data[body:body + octets], "big")
            body += octets
        self.at = body + length
        if self.at > len(self.data):
            raise ValueError("DER ends early")
        return tag, self.data[body:self.at], self.data[start:self.at]


def signed(der):
    """TBS, signature and what the TBS holds, of a certificate or a CRL."""
    outer = Der(Der(der).next()[1])
    _, inside, tbs = outer.next()
    outer.next()
    return tbs, outer.next()[1][1:], inside


def seconds(tag, text):
    text = text.decode()
    if tag == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


class Crl:
    """Number, times and entries of a CRL (RFC 5280 section 5)."""

    def __init__(self, der):
        self.tbs, self.signature, inside = signed(der)
        fields = Der(inside)
        fields.next()  # version
        fields.next()  # algorithm
        fields.next()  # issuer
        tag, body, _ = fields.next()
        self.this_update = seconds(tag, body)
        tag, body, _ = fields.next()
        self.next_update = seconds(tag, body)
        self.entries, self.number, self.base = {}, None, None
        while fields.more():
            tag, body, _ = fields.next()
            if tag == 0x30:
                listed = Der(body)
                while listed.more():
                    entry = Der(listed.next()[1])
                    serial = int.from_bytes(entry.next()[1], "big")
                    tag, when, _ = entry.next()
                    self.entries[serial] = seconds(tag, when)
            elif tag == 0xA0:
                extensions = Der(Der(body).next()[1])
                while extensions.more():
                    extension = Der(extensions.next()[1])
                    oid = extension.next()[1]
                    value = extension.next()
                    value = extension.next()[1] if value[0] == 0x01 else value[1]
                    if oid == bytes.fromhex("551d14"):
                        self.number = int.from_bytes(Der(value).next()[1], "big")
                    elif oid == bytes.fromhex("551d1b"):
                        self.base = int.from_bytes(Der(value).next()[1], "big")
