#!/usr/bin/env python3
"""Did anything get lost? An independent reader of what a storm left behind.

It shares no code with the server. It reads the database past the server, what the PKCS#11 shim wrote down, the audit
file, the files that are published, and the journal of what clients sent and heard, and asserts the invariants of
docs/reference/storm.md.

    check.py --database ca.db|postgres:///... --shim shim.record --journal journal.jsonl --chain chain.pem --published public

Standard library, `openssl` and, for PostgreSQL, `psql`. Exit 0: every invariant holds; 1: violations, named; 2: cannot read.
"""

import argparse
import base64
import collections
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import urllib.parse

import published
from der import Crl, signed

PROBE = hashlib.sha256(b"holdfast signer probe v1: these bytes are not a certificate\n").hexdigest()

# Every column that is read; those with a star are binary.
TABLES = {
    "device": ["id", "name", "ek_spki_sha256*"],
    "enrollment": ["id", "challenge*", "device_id"],
    "evidence": ["enrollment_id", "digest*", "bytes*"],
    "transcript": ["enrollment_id", "digest*", "bytes*"],
    "certificate": ["id", "serial*", "issuer_key_id*", "enrollment_id", "device_id", "profile", "profile_sha256*",
                    "spki_sha256*", "tbs*", "certificate*", "state", "not_before", "not_after", "created_at"],
    "identity": ["device_id", "profile", "certificate_id"],
    "key_owner": ["spki_sha256*", "device_id"],
    "revocation": ["id", "certificate_id", "step", "state", "reason", "at"],
    "crl": ["id", "number", "crl_point_id", "tbs_sha256*", "this_update", "next_update", "entries", "base"],
    "crl_point": ["id", "url", "number", "crl_id", "der*", "delta_url"],
    "crl_delta": ["crl_point_id", "number", "base", "der*"],
    "audit": ["id", "at", "action", "actor", "subject", "reason", "detail", "entry_id",
              "before_sha256*", "after_sha256*"],
    "ledger_entry": ["id", "bytes*", "certificate_id", "salt*", "position"],
    "ledger": ["id", "size", "root*", "checkpoint"],
}


class Tree:
    """RFC 6962 section 2.1: leaf after leaf, and the root at each size."""

    def __init__(self):
        self.peaks, self.size = [], 0

    def append(self, leaf):
        self.peaks.append(hashlib.sha256(b"\0" + leaf).digest())
        self.size += 1
        for _ in range((self.size & -self.size).bit_length() - 1):
            right = self.peaks.pop()
            self.peaks.append(hashlib.sha256(b"\1" + self.peaks.pop() + right).digest())

    def root(self):
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for left in self.peaks[-2::-1]:
            root = hashlib.sha256(b"\1" + left + root).digest()
        return root


def read_tables(url):
    """All of them as they are at one moment: the server may go on meanwhile."""
    tables = read_postgres(url) if url.startswith("postgres") else read_sqlite(url)
    for table, columns in TABLES.items():
        low = [i for i, column in enumerate(columns) if column.endswith("*")]
        for row in tables[table]:
            for i in low:
                row[i] = row[i].lower()
        names = [column.rstrip("*") for column in columns]
        tables[table] = [dict(zip(names, row)) for row in tables[table]]
    return tables


def select(table, columns, binary):
    asked = (binary.format(column[:-1]) if column.endswith("*") else column for column in columns)
    return f"SELECT {', '.join(asked)} FROM {table} ORDER BY 1;"


def read_sqlite(url):
    base = sqlite3.connect(f"file:{url}?mode=ro", uri=True, isolation_level=None)
    base.execute("BEGIN")
    rows = {table: base.execute(select(table, columns, "hex({})")).fetchall() for table, columns in TABLES.items()}
    return {table: [["" if value is None else str(value) for value in row] for row in found]
            for table, found in rows.items()}


def read_postgres(url):
    script = ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"]
    for table, columns in TABLES.items():
        script += [select(table, columns, "encode({}, 'hex')"), "\\echo -n \x1d"]
    output = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-F", "\x1f", "-R", "\x1e", "-d", url],
        input="\n".join(script).encode(), capture_output=True, check=True)
    found = [text.strip("\n") for text in output.stdout.decode().split("\x1d")]
    return {table: [row.split("\x1f") for row in text.split("\x1e")] if text else []
            for table, text in zip(TABLES, found)}


def read_shim(path):
    with open(path, encoding="ascii") as file:
        return [line.split(" ") for line in file.read().split("\n") if line]


def sha256(text):
    return hashlib.sha256(bytes.fromhex(text)).hexdigest()


class Check:
    def __init__(self, arguments):
        # A server that runs may sign and publish while this is read: what was there before must be on record, and what is
        # on record must be there afterwards.
        self.before = len(read_shim(arguments.signed_before or arguments.shim))
        self.files = published.Files(arguments.published)
        self.tables = read_tables(arguments.database)
        with open(arguments.journal, encoding="utf-8") as file:
            lines = file.read().split("\n")
        self.journal = [json.loads(line) for line in lines if line]
        self.shim = read_shim(arguments.shim)
        self.chain = None if arguments.without_signatures else arguments.chain
        self.folder, self.violations, self.in_files = None, [], []
        self.counts = collections.OrderedDict()

    def wrong(self, invariant, what):
        self.violations.append({"invariant": invariant, "what": what})

    def heard(self, kind):
        return [line for line in self.journal if line["kind"] == kind]

    def once(self, invariant, what, values):
        for value, count in collections.Counter(values).items():
            if count > 1:
                self.wrong(invariant, f"{what}: {count} times: {value}")

    def run(self):
        certificates = self.tables["certificate"]
        issuers = {row["issuer_key_id"] for row in certificates}
        self.counts["certificates issued"] = sum(row["state"] == "issued" for row in certificates)
        self.counts["orphans"] = sum(row["state"] == "orphan" for row in certificates)
        self.counts["CRLs"] = len(self.tables["crl"])
        self.counts["revocation steps"] = len(self.tables["revocation"])
        self.counts["signatures asked for"] = sum(line[0] == "sign" for line in self.shim)
        self.counts["faults at the token"] = sum(line[0] == "order" for line in self.shim)
        for line in self.heard("fault"):
            name = "fault: " + line["what"].split(" ")[0]
            self.counts[name] = self.counts.get(name, 0) + 1
        if len(issuers) > 1:
            self.wrong("I15", f"{len(issuers)} issuers")
        self.signatures(certificates, self.ledger(certificates))
        self.nothing_twice(certificates)
        self.received(certificates)
        self.standing(certificates)
        self.shown()
        self.revoked(certificates)
        self.lists()
        self.audited(certificates)
        self.answers()

    def issuing_key(self):
        """CKA_ID of the key that signs certificates: the one under which their TBS was signed."""
        known = {sha256(row["tbs"]) for row in self.tables["certificate"]}
        keys = collections.Counter(line[3] for line in self.shim if line[0] == "sign" and line[4] in known)
        if len(keys) > 1:
            self.wrong("I15", f"certificates were signed by keys {sorted(keys)}")
        return next(iter(keys), None)

    def ledger(self, certificates):
        """I10: the ledger is one tree over what is on record, and what clients were promised is in it. Gives the digests
        of what the CA's key may sign for it."""
        rows, (tree,) = self.tables["ledger_entry"], self.tables["ledger"]
        placed = sorted((row for row in rows if row["position"]), key=lambda row: int(row["position"]))
        if [int(row["position"]) for row in placed] != list(range(int(tree["size"]))):
            self.wrong("I10", f"the places of {len(placed)} leaves are not those of a tree of {tree['size']}")
        origin = tree["checkpoint"].split("\n")[0]
        grown, texts = Tree(), {}
        for size in range(len(placed) + 1):
            text = f"{origin}\n{size}\n{base64.b64encode(grown.root()).decode()}\n"
            texts[hashlib.sha256(b"holdfast-ca-key/v1\n" + text.encode()).hexdigest()] = text
            if size < len(placed):
                grown.append(bytes.fromhex(placed[size]["bytes"]))
        if grown.root().hex() != tree["root"]:
            self.wrong("I10", "the leaves on record lead to another root than the ledger's")
        if tree["checkpoint"] and tree["checkpoint"].split("\n\n")[0] + "\n" not in texts.values():
            self.wrong("I10", "the checkpoint is over another tree than the one on record")
        self.counts["leaves in the ledger"] = grown.size
        self.counts["files of the ledger"] = len(self.files.tree)
        for what in self.files.ledger([bytes.fromhex(row["bytes"]) for row in placed], set(texts.values())):
            self.wrong("I10", what)
        leaves = {row["certificate_id"]: row for row in rows if row["certificate_id"]}
        for row in certificates:
            leaf = leaves.get(row["id"])
            said = json.loads(bytes.fromhex(leaf["bytes"])) if leaf else {}
            if row["state"] == "issued" and said.get("certificate") != sha256(row["certificate"]):
                self.wrong("I10", f"{row['serial']} is issued, and its leaf is not in the ledger")
        promised = {row["bytes"] for row in rows if row["certificate_id"]}
        for line in self.heard("issued"):
            if line["leaf"] not in promised:
                self.wrong("I10", f"{line['device']} was promised a leaf that is not there")
        self.held(rows)
        return texts

    def held(self, rows):
        """I10: audit records are what the ledger holds them to."""
        records = collections.defaultdict(list)
        for row in self.tables["audit"]:
            records[row["entry_id"]].append(row)
        for row in rows:
            if not row["salt"]:
                continue
            digest = Tree()
            for place, record in enumerate(sorted(records[row["id"]], key=lambda record: int(record["id"]))):
                line = {name: record[name] for name in ("at", "action", "actor", "subject", "reason", "detail")}
                line["at"] = int(line["at"])
                line.update({name: record[f"{name}_sha256"] for name in ("before", "after") if record[f"{name}_sha256"]})
                own = b"holdfast-audit/v1\n" + bytes.fromhex(row["salt"]) + place.to_bytes(4, "big")
                text = json.dumps(line, separators=(",", ":"), ensure_ascii=False)
                digest.append(hashlib.sha256(own).digest() + text.encode())
            if json.loads(bytes.fromhex(row["bytes"])).get("digest") != digest.root().hex():
                self.wrong("I10", f"audit records of leaf {row['position']} are not what it holds them to")
        free = sum(not row["entry_id"] for row in self.tables["audit"])
        if free:
            self.wrong("I10", f"{free} audit records that no leaf holds to what they say")

    def signatures(self, certificates, checkpoints):
        """I1: recorded before it was signed. I2: once; a checkpoint of one tree may be signed again."""
        tbs = {sha256(row["tbs"]): row for row in certificates}
        lists = {row["tbs_sha256"] for row in self.tables["crl"] if row["tbs_sha256"]}
        key, signed_digests = self.issuing_key(), collections.Counter()
        for at, line in enumerate(self.shim):
            if line[0] == "call":
                self.wrong("I1", f"the server called {line[1]}, which nothing watches")
            if line[0] != "sign" or line[3] != key or line[4] == PROBE:
                continue
            if line[4] in checkpoints:
                continue
            signed_digests[line[4]] += 1
            if at < self.before and line[4] not in tbs and line[4] not in lists:
                self.wrong("I1", f"a signature of {line[4]} without a record")
        for digest, count in signed_digests.items():
            if count > 1:
                self.wrong("I2", f"{digest} went to the token {count} times")
        for digest, row in tbs.items():
            if row["state"] == "issued" and not signed_digests[digest]:
                self.wrong("I1", f"{row['serial']} is issued, and the token knows nothing of it")
        # What is published was signed, too.
        for point in self.tables["crl_point"] + self.tables["crl_delta"]:
            if point["der"] and hashlib.sha256(Crl(bytes.fromhex(point["der"])).tbs).hexdigest() not in signed_digests:
                self.wrong("I1", f"CRL {point['number']} is shown, and the token knows nothing of it")

    def nothing_twice(self, certificates):
        """I3, I5, I8, I16."""
        self.once("I3", "serial", [row["serial"] for row in certificates])
        self.once("I3", "request and profile", [(row["enrollment_id"], row["profile"]) for row in certificates])
        self.once("I5", "challenge", [row["challenge"] for row in self.tables["enrollment"]])
        self.once("I16", "EK", [row["ek_spki_sha256"] for row in self.tables["device"] if row["ek_spki_sha256"]])
        self.once("I16", "key", [row["spki_sha256"] for row in self.tables["key_owner"]])
        self.once("I16", "identity", [(row["device_id"], row["profile"]) for row in self.tables["identity"]])
        evidence = {row["enrollment_id"]: row for row in self.tables["evidence"]}
        transcripts = {row["enrollment_id"]: row for row in self.tables["transcript"]}
        enrollments = {row["id"]: row for row in self.tables["enrollment"]}
        profiles = collections.defaultdict(set)
        for row in certificates:
            profiles[row["profile"]].add(row["profile_sha256"])
            if not row["device_id"]:
                continue  # the server's own: an OCSP delegate
            found = evidence.get(row["enrollment_id"])
            if row["enrollment_id"] not in enrollments or not found:
                self.wrong("I5", f"{row['serial']} without challenge or evidence")
            elif sha256(found["bytes"]) != found["digest"]:
                self.wrong("I5", f"evidence of {row['serial']} is not what its digest says")
            elif found["digest"] not in row["tbs"]:
                self.wrong("I5", f"{row['serial']} does not commit to its evidence")
            told = transcripts.get(row["enrollment_id"])
            if not told or sha256(told["bytes"]) != told["digest"] or found and found["digest"] not in bytes.fromhex(
                    told["bytes"]).decode():
                self.wrong("I5", f"{row['serial']} without a transcript of its evidence")
        for profile, hashes in profiles.items():
            if len(hashes) > 1:
                self.wrong("I8", f"profile {profile} in {len(hashes)} forms, and nobody changed it")

    def verify(self, items):
        """Which of (name, message, signature) do not verify under the issuing CA, by OpenSSL."""
        if not self.chain:
            return
        key = os.path.join(self.folder, "key.pem")
        with open(key, "wb") as file:
            file.write(subprocess.run(["openssl", "x509", "-in", self.chain, "-noout", "-pubkey"],
                                      capture_output=True, check=True).stdout)
        for name, message, signature in items:
            paths = [os.path.join(self.folder, part) for part in ("message", "signature")]
            for path, data in zip(paths, (message, signature)):
                with open(path, "wb") as file:
                    file.write(data)
            done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", key, "-signature", paths[1], paths[0]],
                                  capture_output=True, check=False)
            if done.returncode != 0:
                yield name

    def received(self, certificates):
        """I4: what a client received is on record, byte for byte. I11: and verifies."""
        issued = {row["certificate"]: row for row in certificates if row["state"] == "issued"}
        names = {row["id"]: row["name"] for row in self.tables["device"]}
        challenges = {row["challenge"]: row["id"] for row in self.tables["enrollment"]}
        got = collections.OrderedDict()
        for line in self.heard("issued"):
            row = issued.get(line["certificate"])
            if not row:
                self.wrong("I4", f"{line['device']} received what is not on record as issued")
            elif names[row["device_id"]] != line["device"] or challenges.get(line["enrollment"]) != row["enrollment_id"]:
                self.wrong("I4", f"{line['device']} received what is another's: {row['serial']}")
            got[line["certificate"]] = line["device"]
        self.counts["certificates received"] = len(got)
        for line in self.heard("burnt"):
            told = challenges.get(line["enrollment"])
            if told and any(row["enrollment_id"] == told and row["state"] != "orphan" for row in certificates):
                self.wrong("I4", f"{line['enrollment']} is burnt, the client was told, and the record says otherwise")
        items = []
        for row in certificates:
            if row["state"] == "issued":
                tbs, signature, _ = signed(bytes.fromhex(row["certificate"]))
                if tbs.hex() != row["tbs"]:
                    self.wrong("I8", f"{row['serial']}: what was signed is not what was recorded")
                items.append((row["serial"], tbs, signature))
        for name in self.verify(items):
            self.wrong("I11", f"certificate {name} does not verify")

    def standing(self, certificates):
        """I12: nothing is left open. One good certificate stands for a device and profile."""
        by_id = {row["id"]: row for row in certificates}
        for row in certificates:
            if row["state"] == "intent":
                self.wrong("I12", f"{row['serial']} is still an intent")
            if int(row["not_before"]) > int(row["not_after"]):
                self.wrong("I13", f"{row['serial']} ends before it begins")
        for row in self.tables["identity"]:
            stands = by_id.get(row["certificate_id"])
            if not stands or stands["state"] != "issued" or stands["device_id"] != row["device_id"]:
                self.wrong("I12", f"device {row['device_id']} stands on a certificate that is none of its own")

    def revoked(self, certificates):
        """I6: revoked stays revoked; a revocation that was answered is there."""
        serials = {row["id"]: row["serial"] for row in certificates}
        steps = collections.defaultdict(list)
        for row in self.tables["revocation"]:
            steps[serials[row["certificate_id"]]].append(row)
        answered = {}
        for line in self.heard("revoked"):
            if not any(row["state"] == "revoked" for row in steps.get(line["serial"], [])):
                self.wrong("I6", f"{line['serial']} was answered as revoked, and is not on record")
            answered.setdefault(line["serial"], line["ended"])
        for crl in [Crl(bytes.fromhex(line["der"])) for line in self.heard("crl")] + self.in_files:
            if crl.base is not None:
                continue
            for serial, since in answered.items():
                # Times of CRLs are whole seconds: what began in the second of the answer may have been before it.
                if crl.this_update > since and int(serial, 16) not in crl.entries:
                    self.wrong("I6", f"{serial} was revoked at {since}, and is not in the CRL {crl.number} of {crl.this_update}")
        for line in self.heard("ocsp"):
            since = answered.get(line["serial"])
            if since is not None and line["began"] > since and line["status"] == "good":
                self.wrong("I6", f"{line['serial']} was revoked at {since}, and OCSP said good at {line['began']}")
        self.counts["revocations answered"] = len(answered)
        self.counts["OCSP answers heard"] = len(self.heard("ocsp"))

    def lists(self):
        """I7: numbers grow, times do not run back, entries leave by expiry only. I11: all verify."""
        last, items = {}, []
        expiry = {int(row["serial"], 16): int(row["not_after"]) for row in self.tables["certificate"]}
        for line in self.heard("crl"):
            crl, before = Crl(bytes.fromhex(line["der"])), last.get(line["url"])
            if before is None or before.number != crl.number:
                items.append((f"{line['url']} {crl.number}", crl.tbs, crl.signature))
            if not crl.this_update <= line["ended"] + 1 or not line["began"] <= crl.next_update:
                self.wrong("I7", f"CRL {crl.number} was shown outside of its time")
            if before is not None:
                if crl.number < before.number or crl.this_update < before.this_update:
                    self.wrong("I7", f"CRL {crl.number} was shown after {before.number}")
                if crl.number == before.number and crl.tbs != before.tbs:
                    self.wrong("I7", f"two CRLs have number {crl.number}")
                for serial in before.entries.keys() - crl.entries.keys():
                    if expiry.get(serial, 0) >= before.this_update:
                        self.wrong("I7", f"{serial:x} left the list with CRL {crl.number} before it expired")
            last[line["url"]] = crl
        self.once("I7", "CRL number", [row["number"] for row in self.tables["crl"]])
        self.counts["CRLs heard"] = len(items)
        for name in self.verify(items):
            self.wrong("I11", f"CRL {name} does not verify")

    def shown(self):
        """CRLs in files: on record under their number, at their place, and no newer than it. I11: they verify."""
        points = {row["id"]: row for row in self.tables["crl_point"]}
        places = {row["url"]: (row["id"], row["number"]) for row in points.values()}
        places |= {points[row["crl_point_id"]]["delta_url"]: (row["crl_point_id"], row["number"])
                   for row in self.tables["crl_delta"]}
        places = {urllib.parse.urlsplit(url).path.lstrip("/"): place for url, place in places.items()}
        recorded, items = {row["number"]: row for row in self.tables["crl"]}, []
        for path, der in sorted(self.files.crls.items()):
            try:
                crl, place = Crl(der), places.get(path, ("", "0"))
            except (ValueError, IndexError, TypeError):
                self.wrong("I11", f"the file {path} is no CRL")
                continue
            self.in_files.append(crl)
            row = recorded.get(str(crl.number))
            if not row or row["tbs_sha256"] != hashlib.sha256(crl.tbs).hexdigest():
                self.wrong("I1", f"the file {path} is a CRL that is not on record")
            elif row["base"] != ("" if crl.base is None else str(crl.base)):
                self.wrong("I1", f"the file {path} stands on CRL {crl.base}, on record it is {row['base'] or 'complete'}")
            elif row["crl_point_id"] != place[0] or crl.number > int(place[1]):
                self.wrong("I7", f"the file {path} shows CRL {crl.number} of another place or time")
            items.append((f"{path} {crl.number}", crl.tbs, crl.signature))
        self.counts["files of CRLs"] = len(items)
        for name in self.verify(items):
            self.wrong("I11", f"the file {name} does not verify")

    def audited(self, certificates):
        """I9: no effect without its record, no record without its effect."""
        by_enrollment = collections.defaultdict(list)
        for row in certificates:
            by_enrollment[row["enrollment_id"]].append(row)
        subjects = {row["id"]: "enr_" + row["challenge"] for row in self.tables["enrollment"]}
        expected = collections.Counter()
        for enrollment, rows in by_enrollment.items():
            if not rows[0]["device_id"]:
                continue
            expected["granted", subjects[enrollment]] = 1
            if all(row["state"] == "issued" for row in rows):
                expected["enrollment.issued", subjects[enrollment]] = 1
        for row in certificates:
            if row["state"] == "orphan":
                expected["certificate.orphaned", row["serial"]] += 1
        found = collections.Counter()
        own = {subjects[e] for e, rows in by_enrollment.items() if not rows[0]["device_id"]}
        serials = {row["serial"] for row in certificates}
        for row in self.tables["audit"]:
            action, subject = row["action"], row["subject"]
            if action in ("enrollment.granted", "renewal.granted"):
                found["granted", subject] += 1
            elif action == "enrollment.issued" and subject not in own:
                found[action, subject] += 1
            elif action == "certificate.orphaned":
                named = [word for word in (subject + " " + row["detail"]).replace(",", " ").split() if word in serials]
                found[action, named[0] if named else subject] += 1
        for difference, words in ((expected - found, "no audit record of"), (found - expected, "an audit record without")):
            for (action, subject), count in difference.items():
                self.wrong("I9", f"{words} {action} {subject} ({count})")
        steps = len(self.tables["revocation"])
        records = sum(row["action"] in ("certificate.revoked", "certificate.held", "certificate.released")
                      for row in self.tables["audit"])
        if steps != records:
            self.wrong("I9", f"{steps} steps of revocation, {records} audit records")

    def answers(self):
        """I20: nobody who did nothing wrong hears anything but success and later."""
        allowed = {200, 201, 202, 409, 503}
        for line in self.heard("answer"):
            if line["status"] not in allowed:
                self.wrong("I20", f"a client heard {line['status']} {line.get('code', '')}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("database", "shim", "journal", "chain"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--signed-before", help="the shim's record as it was before the database was copied, if it is a copy")
    parser.add_argument("--published", help="folder of the files that are served: crls and ledger")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--without-signatures", action="store_true", help="do not verify them: OpenSSL takes its time")
    arguments = parser.parse_args()
    try:
        check = Check(arguments)
    except (OSError, ValueError, sqlite3.Error, subprocess.CalledProcessError) as error:
        print(f"check: cannot read: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="holdfast-check-") as check.folder:
        check.run()
    if arguments.json:
        print(json.dumps({"counts": check.counts, "violations": check.violations}))
    else:
        for name, count in check.counts.items():
            print(f"{count:8}  {name}")
        for violation in check.violations:
            print(f"VIOLATED {violation['invariant']}: {violation['what']}")
        print(f"{len(check.violations)} violations")
    return 1 if check.violations else 0


if __name__ == "__main__":
    sys.exit(main())
