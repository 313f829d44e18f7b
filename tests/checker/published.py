"""What is published as files: the ledger's tree (C2SP tlog-tiles) and CRLs. Read before the record, which is never behind."""

import hashlib
import os
import re

WIDTH = 256
TILE = re.compile(r"tile/(entries|[0-7])/((?:x\d{3}/)*\d{3})(?:\.p/(\d+))?")


def files(folder):
    """Contents by path; a checkpoint before its tiles. Names with a dot are what a killed server was about to replace a file with: nobody serves them."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            if not name.startswith("."):
                path = os.path.join(at, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


class Files:
    def __init__(self, folder):
        self.crls = files(os.path.join(folder, "crls")) if folder else {}
        self.tree = files(os.path.join(folder, "ledger")) if folder else {}

    def ledger(self, leaves, texts):
        """I10: what is wrong with the tiles, given the leaves on record and the texts of all their trees."""
        note = self.tree.get("checkpoint")
        if note is None:
            if self.tree:
                yield "tiles are published, and no checkpoint"
            return
        text = note.decode(errors="replace").split("\n\n")[0] + "\n"
        if text not in texts:
            yield "the checkpoint in the folder is over another tree than the one on record"
            return
        levels = [[hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]]
        while len(levels[-1]) >= WIDTH:
            below = levels[-1]
            levels.append([root(below[i:i + WIDTH]) for i in range(0, len(below) - WIDTH + 1, WIDTH)])
        for path, found in sorted(self.tree.items()):
            name = TILE.fullmatch(path)
            if path == "checkpoint":
                continue
            if not name:
                yield f"{path} is no file of a tree"
                continue
            kind, index, width = name[1], int(name[2].replace("x", "").replace("/", "")), int(name[3] or WIDTH)
            level = 0 if kind == "entries" else int(kind)
            first = index * WIDTH
            if level >= len(levels) or len(levels[level]) < first + width:
                yield f"{path} shows more than is on record"
            elif found != (b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves[first:first + width])
                           if kind == "entries" else b"".join(levels[level][first:first + width])):
                yield f"{path} is not what is on record"
        for path in needed(int(text.split("\n")[1])):
            if path not in self.tree:
                yield f"{path} is missing, of which the checkpoint in the folder speaks"


def root(hashes):
    """The root over a whole tile."""
    while len(hashes) > 1:
        hashes = [hashlib.sha256(b"\1" + hashes[i] + hashes[i + 1]).digest() for i in range(0, len(hashes), 2)]
    return hashes[0]


def needed(size):
    """The tiles of a tree of this size."""
    level = 0
    while size:
        for index in range((size + WIDTH - 1) // WIDTH):
            width = min(WIDTH, size - index * WIDTH)
            name = f"{index % 1000:03}"
            while index >= 1000:
                index //= 1000
                name = f"x{index % 1000:03}/{name}"
            name += f".p/{width}" if width < WIDTH else ""
            yield f"tile/{level}/{name}"
            if level == 0:
                yield f"tile/entries/{name}"
        level, size = level + 1, size // WIDTH
