#!/usr/bin/env python3
"""Check a Holdfast audit again without Holdfast.

  audit.py AUDIT --trust FOLDER_OR_ZIP [--rehearsal] [--json]

AUDIT is what `ca-cli audit export` wrote; FOLDER is as for bundle.py, which lies beside this file and makes the checks of each
bundle. Needs Python 3.9 and `cryptography`, nothing of ours. Exit 0: nothing is wrong; 3: something is; 2: cannot be asked.

What is drawn follows from the pinned tree and the seed alone: SHA-256("holdfast-audit-sample/v1\\n" || root || first || size ||
seed || turn), numbers as 8 octets, of which the first 16 octets modulo the number of entries are a place; turn after turn,
until enough different places are drawn.
"""
import argparse
import base64
import json
import pathlib
import sys

import bundle as b
from bundle import No, need, sha256


def pinned(pin, checkpoint, keys):
    """The checkpoint is the pinned one, signed by a ledger that is believed."""
    found = b.proof(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + checkpoint)
    need((pin["origin"], pin["size"], pin["root"]) == (found["origin"], found["size"], found["root"].hex())
         and pin["first"] <= pin["size"], "the checkpoint is another than the one that was pinned")
    for name, key_id, key in keys:
        lines = [raw[4:] for line, raw in found["signatures"] if line == name and raw[:4] == key_id]
        if name == found["origin"] and lines:
            try:
                for line in lines:
                    key.verify(line, found["text"].encode())
            except b.InvalidSignature as error:
                raise No("the signature of the ledger is wrong") from error
            return found
    raise No("no key of this ledger is among those you trust")


def draw(pin):
    need("seed" in pin and "count" in pin, "nothing was drawn yet")
    seed, count, first, size = pin["seed"].encode(), pin["count"], pin["first"], pin["size"]
    need(1 <= len(seed) <= 1000 and 1 <= count <= 10000 and first < size, "nothing can be drawn")
    if size - first <= count:
        return list(range(first, size))
    drawn, turn = set(), 0
    while len(drawn) < count:
        text = b"holdfast-audit-sample/v1\n" + bytes.fromhex(pin["root"]) + first.to_bytes(8, "big") + size.to_bytes(8, "big") + seed
        number = int.from_bytes(sha256(text + turn.to_bytes(8, "big"))[:16], "big")
        drawn.add(first + number % (size - first))
        turn += 1
    return sorted(drawn)


def tree(leaves):
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + tree(leaves[:middle]) + tree(leaves[middle:]))


def held(behind, said):
    """The records are those that the entry was made of."""
    records, salt = behind.get("records", []), base64.b64decode(behind.get("salt", ""))
    need(len(salt) == 16, "the salt is not there")
    need(len(records) == said["records"], "another number of records")
    leaves = []
    for place, record in enumerate(records):
        names = ["at", "action", "actor", "subject", "reason", "detail"] + [n for n in ("before", "after") if n in record]
        line = json.dumps({n: record[n] for n in names}, separators=(",", ":"), ensure_ascii=False).encode()
        own = sha256(b"holdfast-audit/v1\n" + salt + place.to_bytes(4, "big"))
        leaves.append(sha256(b"\0" + own + line))
    need(tree(leaves).hex() == said["digest"], "the records are not those that the entry was made of")
    return records


def erased(said, behind, files, place, keys):
    missing = "the bundle is not there, and no erasure of it is in the ledger"
    need("erased" in behind and f"erasure-entry/{place}" in files, missing)
    leaf, shown = files[f"erasure-entry/{place}"], json.loads(files[f"erasure-behind/{place}"])
    found = b.proof(files[f"erasure-proof/{place}"])
    head = {"origin": found["origin"], "size": found["size"], "root": found["root"].hex(), "first": 0}
    note = files[f"erasure-proof/{place}"].split(b"\n\n", 1)[1]
    pinned(head, note, keys)
    need(b.root_of(leaf, found["index"], found["size"], found["path"]) == found["root"], "the erasure is not in the ledger")
    record = json.loads(leaf)
    need(record.get("event") == "audit", "what is said to record the erasure is no audit record")
    row = f"{behind['erased']['row']}\t\\\\x{said['evidence']}\t\\\\x".encode()
    need(any(r["action"] == "evidence.erased" and r.get("after") == sha256(row).hex() for r in held(shown, record)),
         "the record is of erasing something else")


def certificate(said, leaf, behind, files, place, trust, rehearsal, faults):
    if "certificate" not in behind:
        faults.append(("missing", "the certificate is not there"))
        return False
    der = base64.b64decode(behind["certificate"])
    if sha256(der).hex() != said["certificate"]:
        faults.append(("certificate", "the CA's tables have another certificate than the ledger"))
        return False
    issuers = [base64.b64decode(each) for each in behind.get("issuers", [])]

    def chain():
        roots = [b.Certificate(each) for each in trust["ca"]]
        b.path_to(b.Certificate(der), {"issuers": issuers}, roots, said["at"])
        marks = [each for each in [der] + issuers + trust["ca"] if b.ARC + "1.2" in b.Certificate(each).extensions]
        need(rehearsal or not marks, "it is of a rehearsal")

    _, good, why = b.answer("chain", chain)
    if not good:
        faults.append(("chain", why))
    if "evidence" not in said:
        return False
    if "bundle" not in behind:
        try:
            erased(said, behind, files, place, trust["ledger"])
            return True
        except (No, KeyError, ValueError, IndexError) as error:
            faults.append(("erasure" if "erased" in behind else "missing", str(error)))
            return False
    data = base64.b64decode(behind["bundle"])
    try:
        read = b.read_bundle(data)
    except No as error:
        faults.append(("bundle", str(error)))
        return False
    faults += [("bundle", f"{name}: {why}") for name, good, why in b.checks(read, der, trust) if not good]
    if read["entry"] != leaf:
        faults.append(("bundle", "ledger: the bundle is of another entry"))
    return False


def entry(place, files, head, checkpoint, trust, rehearsal):
    """What is wrong with one entry; whether it was erased, as the ledger says."""
    faults, gone, leaf = [], False, files[f"entry/{place}"]
    try:
        found = b.proof(files[f"proof/{place}"])
        if head is not None:
            need(found["index"] == place, "it is the proof of another place")
            need(files[f"proof/{place}"].split(b"\n\n", 1)[1] == checkpoint, "it is a proof of another tree than the pinned one")
            need(b.root_of(leaf, place, head["size"], found["path"]) == head["root"], "it does not lead to the pinned root")
    except No as error:
        faults.append(("proof", str(error)))
    try:
        said = b.strict(leaf, "the entry")
        need(said.get("v") == 1 and said.get("event") in ("issued", "status", "audit", "changed"), "an unknown entry")
    except No as error:
        return faults + [("entry", str(error))], False
    if f"behind/{place}" not in files:
        return faults + [("missing", "the CA showed nothing of this entry")], False
    behind = json.loads(files[f"behind/{place}"])
    if base64.b64decode(behind["entry"]) != leaf:
        faults.append(("entry", "the CA's tables have another entry at this place"))
    if said["event"] == "issued":
        gone = certificate(said, leaf, behind, files, place, trust, rehearsal, faults)
    elif said["event"] == "status":
        if {"state": said["state"], "reason": said["reason"], "at": said["at"]} not in behind.get("steps", []):
            faults.append(("status", "the CA's tables know no such step of that time"))
    elif said["event"] == "changed":
        if "text" not in behind:
            faults.append(("missing", "the archived text is not there"))
        elif sha256(base64.b64decode(behind["text"])).hex() != said["after"]:
            faults.append(("text", "the archived text is another one"))
    else:
        try:
            held(behind, said)
        except (No, KeyError, ValueError) as error:
            faults.append(("records", str(error)))
    return faults, gone


def verdict(data, trust, rehearsal=False):
    """Faults of the whole, and of each entry."""
    files = b.read_archive(data, 64 << 20)
    bare = {name: content for name, content in files.items() if name != "verdict.json"}
    pin = b.strict(files["audit.json"], "the pin")
    need(pin.get("v") == "holdfast-audit/v1", "an audit of another version")
    faults, head = [], None
    try:
        head = pinned(pin, files["checkpoint"], trust["ledger"])
    except No as error:
        faults.append(("pin", str(error)))
    places = sorted(int(name[6:]) for name in files if name.startswith("entry/"))
    try:
        need(draw(pin) == places, "what is here is not what is drawn")
    except (No, ValueError) as error:
        faults.append(("draw", str(error)))
    entries = {}
    for place in places:
        wrong, gone = entry(place, files, head, files["checkpoint"], trust, rehearsal)
        entries[place] = ("refused" if wrong else "erased" if gone else "good", wrong)
    if "verdict.json" in files:
        said = b.strict(files["verdict.json"], "the verdict")
        found = {place: (word, sorted({name for name, _ in wrong})) for place, (word, wrong) in entries.items()}
        theirs = {one["place"]: (one["verdict"], sorted({fault["check"] for fault in one["faults"]})) for one in said["entries"]}
        whole = sorted({name for name, _ in faults}) == sorted({fault["check"] for fault in said["faults"]})
        if not whole or found != theirs or said["audit_sha256"] != sha256(b.archive(bare)).hex():
            faults.append(("verdict", "the verdict in it is another one"))
    return faults, entries


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audit")
    parser.add_argument("--trust", required=True)
    parser.add_argument("--rehearsal", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        faults, entries = verdict(pathlib.Path(arguments.audit).read_bytes(), b.load_trust(arguments.trust), arguments.rehearsal)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    except (No, KeyError, ValueError, TypeError) as error:
        print(f"not an audit: {error!r}")
        return 3
    wrong = bool(faults) or any(word == "refused" for word, _ in entries.values())
    if arguments.json:
        print(json.dumps({"faults": faults, "entries": {place: {"verdict": word, "faults": of} for place, (word, of) in entries.items()}}))
        return 3 if wrong else 0
    for name, why in faults:
        print(f"NO  {name}: {why}")
    for place, (word, of) in entries.items():
        print(f"{'NO ' if of else 'ok '} entry {place}: {word}")
        for name, why in of:
            print(f"      {name}: {why}")
    print("something is wrong" if wrong else "nothing is wrong")
    return 3 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
