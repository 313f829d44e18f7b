#!/usr/bin/env python3
"""Read a Holdfast ledger without Holdfast: every entry, the tree that they make, and who signed it.

  ledger.py URL_OR_FOLDER --key FILE [--seen CHECKPOINT] [--keep FOLDER]

URL_OR_FOLDER has C2SP tlog-tiles: `checkpoint` and `tile/entries/...`. FILE is the ledger's key (NAME+ID+KEY) as you got it.
CHECKPOINT is what you saw last: the tree must continue it. FOLDER keeps what was read; its `checkpoint` is what you saw.
Needs Python 3.9 and `cryptography`, and bundle.py beside it. Exit 0: the ledger holds; 3: it does not; 2: cannot be asked.
"""
import argparse
import json
import pathlib
import sys
import urllib.error
import urllib.request

from cryptography.exceptions import InvalidSignature

from bundle import No, ledger_key, need, proof, sha256

LIMIT = 256 * (2 + 65535)


def fetch(place, path):
    try:
        if "://" in place:
            with urllib.request.urlopen(f"{place.rstrip('/')}/{path}", timeout=30) as answer:
                return answer.read(LIMIT)
        return pathlib.Path(place, path).read_bytes()
    except (OSError, urllib.error.URLError) as error:
        raise LookupError(f"{path}: {error}") from error


def head(note, key, whose):
    """A checkpoint that the ledger's key signed."""
    name, key_id, public = key
    # A proof without a path has a checkpoint behind it, and is read already.
    found = proof(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + note)
    need(found["origin"] == name, f"{whose} is of another ledger: {found['origin']}")
    lines = [raw[4:] for line, raw in found["signatures"] if line == name and raw[:4] == key_id]
    need(lines, f"FORGED: {whose} is not signed by the ledger's key")
    for signature in lines:
        try:
            public.verify(signature, found["text"].encode())
        except InvalidSignature:
            raise No(f"FORGED: {whose} is not what the ledger's key signed") from None
    return found


def entries_path(index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/entries/{'/'.join(groups)}" + (f".p/{width}" if width < 256 else "")


def bundle_of(data, width):
    out, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at:at + 2], "big")
        need(at + 2 <= len(data) and end <= len(data), "CUT: a bundle of entries ends in the middle")
        out.append(data[at + 2:end])
        at = end
    need(len(out) == width, f"CUT: a bundle has {len(out)} entries, and should have {width}")
    return out


def root(leaves):
    """RFC 6962 section 2.1: complete subtrees, from the left, joined from the right."""
    stack = []
    for place, leaf in enumerate(leaves):
        stack.append(leaf)
        while place & 1:
            right = stack.pop()
            stack[-1] = sha256(b"\1" + stack[-1] + right)
            place >>= 1
    while len(stack) > 1:
        right = stack.pop()
        stack[-1] = sha256(b"\1" + stack[-1] + right)
    return stack[0] if stack else sha256(b"")


def check(place, key, seen, keep):
    files = {"checkpoint": fetch(place, "checkpoint")}
    now = head(files["checkpoint"], key, "the checkpoint")
    before = head(seen, key, "what you saw last") if seen else None
    need(before is None or now["size"] >= before["size"],
         f"CUT: it had {before['size'] if before else 0} entries when you saw it last, and shows {now['size']}")
    all_of_them = []
    for index in range(-(-now["size"] // 256)):
        width = min(256, now["size"] - 256 * index)
        path = entries_path(index, width)
        try:
            files[path] = fetch(place, path)
        except LookupError as error:
            raise No(f"CUT: entries are missing: {error}") from error
        all_of_them += bundle_of(files[path], width)
    leaves = [sha256(b"\0" + one) for one in all_of_them]
    need(root(leaves) == now["root"], "CHANGED: the entries are not those of the tree that was signed")
    need(before is None or root(leaves[:before["size"]]) == before["root"],
         f"FORKED: its first {before['size'] if before else 0} entries are not those that you saw")
    events = [json.loads(one)["event"] for one in all_of_them]
    for path, data in files.items() if keep else ():
        file = pathlib.Path(keep, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    count = ", ".join(f"{events.count(kind)} {kind}" for kind in sorted(set(events)))
    since = f", and continue the {before['size']} that you saw" if before else ""
    return f"{len(leaves)} entries make the tree that {now['origin']} signed{since} ({count})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("place")
    parser.add_argument("--key", required=True)
    parser.add_argument("--seen")
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    try:
        key = ledger_key(pathlib.Path(arguments.key).read_text())
        seen = pathlib.Path(arguments.seen).read_bytes() if arguments.seen else None
        print("ok ", check(arguments.place, key, seen, arguments.keep))
        return 0
    except No as why:
        print("NO ", "".join(c if c.isprintable() else "?" for c in str(why)))
        return 3
    except (OSError, LookupError, ValueError) as error:
        print(f"ledger.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
