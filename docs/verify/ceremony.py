#!/usr/bin/env python3
"""Verify the record of a ceremony without the program that made it: python3 ceremony.py [--rehearsal] ARCHIVE.tar

Needs Python 3.11 (standard library only) and the openssl command, 3.0 or later. Answers 0 when the archive agrees with
itself, 3 when it does not, 2 when it was called wrongly. What it cannot tell: whether the keys in the plan are those of
the people you think of, and whether the script is a good one. Read plan.toml and script.txt, and compare the last line
with what the participants wrote down by hand.
"""
import base64, hashlib, json, re, subprocess, sys, tempfile, tomllib
from datetime import datetime, timezone

LIMIT = 64 << 20


class No(Exception):
    """The archive does not agree with itself, and where."""


def need(true, why):
    if not true:
        raise No(why)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def openssl(*arguments, data=b""):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True)


def on_disk(data):
    file = tempfile.NamedTemporaryFile(prefix="ceremony-")
    file.write(data)
    file.flush()
    return file


def moment(text):
    try:
        time = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except (TypeError, ValueError):
        raise No(f"`{text}` is no time") from None
    need(time.strftime("%Y-%m-%dT%H:%M:%SZ") == text, f"`{text}` is no time")
    return time


# The archive: POSIX ustar, plain files sorted by name, nothing else said of them. Written again and compared.

def tar_write(files):
    out = bytearray()
    for name in sorted(files, key=str.encode):
        good = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)?", name)
        need(good and len(name) < 100, f"tar: name {name!r}")
        head = bytearray(512)
        for at, text in [(0, name), (100, "0000444\0"), (108, "0000000\0"), (116, "0000000\0"),
                         (124, f"{len(files[name]):011o}\0"), (136, "00000000000\0"), (148, " " * 8), (156, "0"),
                         (257, "ustar\00000")]:
            head[at:at + len(text)] = text.encode()
        head[148:156] = f"{sum(head):06o}\0 ".encode()
        out += head + files[name] + bytes(-len(files[name]) % 512)
    return bytes(out + bytes(1024))


def tar_read(data):
    need(len(data) <= LIMIT, "tar: too long")
    files, at = {}, 0
    while True:
        head = data[at:at + 512]
        need(len(head) == 512, "tar: cut off")
        if not any(head):
            break
        try:
            name, length = head[:100].split(b"\0")[0].decode(), int(head[124:135], 8)
        except ValueError:
            raise No("tar: header") from None
        need(0 <= length <= LIMIT and at + 512 + length <= len(data), "tar: cut off")
        files[name] = data[at + 512:at + 512 + length]
        at += 512 + length + -length % 512
    need(tar_write(files) == data, "tar: not in the one form there is")
    return files


# The transcript: one JSON object a line, each with the hash of the line before it, the first with that of the plan.

FIELDS = ["seq", "time", "event", "step", "role", "facts", "inputs", "outputs", "previous"]
EVENTS = ["begun", "resumed", "intent", "done", "void", "deviation", "sealed"]


def transcript_read(data, plan):
    need(data.endswith(b"\n"), "transcript: cut off")
    previous, last, records = plan, None, []
    for number, line in enumerate(data[:-1].split(b"\n"), 1):
        where = f"transcript, line {number}"
        try:
            record = json.loads(line.decode())
        except ValueError:
            raise No(f"{where}: no JSON") from None
        need(isinstance(record, dict) and list(record) == FIELDS, f"{where}: its members")
        maps = [record[name] for name in ("facts", "inputs", "outputs")]
        texts = [record["time"], record["role"], record["previous"], record["event"]]
        need(all(isinstance(text, str) for text in texts), f"{where}: kinds of its members")
        need(all(isinstance(m, dict) and all(isinstance(v, str) for v in m.values()) for m in maps), f"{where}: maps")
        need(all(list(m) == sorted(m, key=str.encode) for m in maps), f"{where}: order")
        need(all(re.fullmatch("[0-9a-f]{64}", v) for m in maps[1:] for v in m.values()), f"{where}: hashes")
        again = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        need(again == line, f"{where}: its spelling")
        need(type(record["seq"]) is int and record["seq"] == number, f"{where}: its number")
        need(type(record["step"]) is int and 0 <= record["step"] < 1 << 32, f"{where}: its step")
        need(record["event"] in EVENTS, f"{where}: its event")
        need(record["previous"] == previous, f"{where}: it does not carry the hash of what stands before it")
        need(last is None or last <= moment(record["time"]), f"{where}: time runs back")
        need(not records or records[-1]["event"] != "sealed", f"{where}: below the seal")
        last, previous = moment(record["time"]), sha256(line + b"\n")
        records.append(record)
    need(records[0]["event"] == "begun" and records[-1]["event"] == "sealed", "transcript: beginning and end")
    return records, previous


def steps_done(records, script):
    """Every numbered step of the script is done, once, in order, by the one it names; void is what says why."""
    printed = re.findall(r"^Step (\d+) of (\d+)  \[([^\]]*)\]  ", script, re.M)
    wanted = {int(number): who for number, _, who in printed}
    need(printed and list(wanted) == list(range(1, len(printed) + 1)), "script: its steps")
    need(all(int(of) == len(printed) for _, of, _ in printed), "script: its steps")
    done, last = {}, 0
    for record in records:
        step = record["step"]
        if record["event"] == "done":
            need(step not in done and step > last, f"transcript: step {step} is out of order")
            done[step], last = record, step
        elif record["event"] == "void":
            need(done.pop(step, None) and "why" in record["facts"], f"transcript: step {step} is void, and was not done")
            last = max(step - 1, 0)
    need(sorted(done) == list(wanted), "transcript: not exactly the steps of the script are done")
    for step, record in done.items():
        need(record["role"] == wanted[step], f"transcript: step {step} was not done by {wanted[step]}")
    return done


# Approvals and seals: thirteen lines and a signature over them.

NAMES = ["ceremony", "mode", "plan-sha256", "script-sha256", "program-sha256", "medium-sha256", "role", "person", "time",
         "key-store", "algorithm", "key", "signature"]
ALGORITHMS = {"ecdsa-p256-sha256": ("P-256", "-sha256"), "ecdsa-p384-sha384": ("P-384", "-sha384"),
              "rsa3072-pkcs1-sha256": ("3072", "-sha256"), "rsa4096-pkcs1-sha256": ("4096", "-sha256"),
              "rsa3072-pss-sha256": ("3072", "-sha256"), "rsa4096-pss-sha256": ("4096", "-sha256")}


def approval_read(file, data):
    try:
        lines = data.decode().split("\n")
        said = dict(line.split(": ", 1) for line in lines[1:-1])
        key, signature = (base64.b64decode(said[name], validate=True) for name in ("key", "signature"))
    except (ValueError, KeyError):
        raise No(f"{file}: not an approval") from None
    said |= {"key": base64.b64encode(key).decode(), "signature": base64.b64encode(signature).decode()}
    again = "".join(f"{name}: {said.get(name, '')}\n" for name in NAMES)
    need(f"holdfast-ceremony-approval-1\n{again}".encode() == data, f"{file}: not in the one form there is")
    need(said["role"] and said["person"] and moment(said["time"]), f"{file}: an empty field")
    need(re.fullmatch("file|token .+", said["key-store"]), f"{file}: key-store")
    need(said["algorithm"] in ALGORITHMS, f"{file}: algorithm")
    kind, digest = ALGORITHMS[said["algorithm"]]
    text = openssl("pkey", "-pubin", "-inform", "DER", "-noout", "-text_pub", data=key).stdout.decode(errors="replace")
    fits = f"NIST CURVE: {kind}" in text if kind.startswith("P") else f"Public-Key: ({kind} bit)" in text
    # The same key in another spelling would count as another one.
    usual = ["-ec_conv_form", "uncompressed"] if kind.startswith("P") else []
    same = openssl("pkey", "-pubin", "-inform", "DER", "-outform", "DER", *usual, data=key).stdout
    need(fits and same == key, f"{file}: its key is not one for {said['algorithm']}")
    pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"] if "pss" in said["algorithm"] else []
    pem = openssl("pkey", "-pubin", "-inform", "DER", data=key).stdout
    with on_disk(pem) as k, on_disk(signature) as s:
        signed = data[:data.rindex(b"signature: ")]
        verdict = openssl("dgst", digest, "-verify", k.name, "-signature", s.name, *pss, data=signed)
    need(verdict.returncode == 0, f"{file}: the signature does not hold")
    said["key sha256"] = sha256(key)
    return said


def quorum(files, folder, wanted, plan, latest):
    given = [approval_read(name, files[name]) for name in sorted(files, key=str.encode) if name.startswith(folder)]
    officers = {officer["role"]: officer["key_sha256"] for officer in plan["quorum"]["officer"]}
    for said in given:
        role = said["role"]
        need(role in officers, f"{folder} `{role}` is no officer of this plan")
        for name, value in wanted.items():
            need(said[name] == value, f"{folder} {role} approved another {name}")
        if said["key-store"] == "file":
            need(wanted["mode"] == "rehearsal", f"{folder} {role} used a key in a file")
        else:
            need(said["key sha256"] == officers[role], f"{folder} {role} used another key than the plan names")
        need(latest is None or moment(said["time"]) <= latest, f"{folder} {role} approved after it was needed")
    person = [sorted(p.lower() for p in re.split(r"[\W_]+", said["person"]) if p) for said in given]
    for what, values in [("role", [s["role"] for s in given]), ("person", [" ".join(p) for p in person]),
                         ("key", [s["key sha256"] for s in given])]:
        need(len(set(values)) == len(values), f"{folder} the same {what} twice")
    need(len(given) >= max(plan["quorum"]["required"], 1), f"{folder} too few")
    return given


# What was made.

def subject(text, what):
    block = text.split(f"{what}=", 1)[1] if f"{what}=" in text else ""
    return dict(re.findall(r"^    (\w+) += (.*)$", block.split("\n\n")[0], re.M))


def certificates(files, plan, mode):
    kind = plan["kind"]
    if kind in ("restore", "destroy"):
        return
    if kind == "root" and plan["key"]["backup"] == "wrapped":
        lines = files.get("outputs/key.backup", b"").decode(errors="replace").split("\n")
        key = base64.b64encode(files.get("outputs/key.spki", b"")).decode()
        told = ["holdfast-key-backup-1", f"ceremony: {plan['name']}", f"algorithm: {plan['key']['algorithm']}", f"key: {key}"]
        rest = r"shares: [0-9a-f]{32}\nwrapped: (?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\n"
        need(lines[:4] == told and re.fullmatch(rest, "\n".join(lines[4:])), "key.backup: not of the key that was made")
    mark = "REHEARSAL " if mode == "rehearsal" else ""
    issuer = files.get("outputs/certificate.cer") if kind == "root" else files["inputs/" + plan["input"]["issuer"]["file"]]
    need(issuer, "outputs: certificate.cer is missing")
    if stand_in := files.get("standins/issuer.cer"):
        # A rehearsal of a plan for a real CA: another of its name, marked, stands in for it.
        need(kind != "root", "standins: there is no CA to stand in for")
        names = [subject(openssl("x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "multiline,utf8,-esc_msb",
                                 data=der).stdout.decode(), "subject") for der in (issuer, stand_in)]
        names[0]["commonName"] = mark + names[0].get("commonName", "")
        need(names[0] == names[1], "standins: issuer.cer is not a rehearsal's, of the issuer's name")
        keys = [openssl("x509", "-inform", "DER", "-noout", "-pubkey", data=der).stdout for der in (issuer, stand_in)]
        need(keys[0] != keys[1], "standins: issuer.cer has the issuer's own key")
        issuer = stand_in
    pem = openssl("x509", "-inform", "DER", data=issuer).stdout
    with on_disk(pem) as anchor:
        if wanted := plan.get("certificate"):
            made = files.get("outputs/certificate.cer", b"")
            need(openssl("x509", "-inform", "DER", "-outform", "DER", data=made).stdout == made != b"", "certificate: form")
            with on_disk(openssl("x509", "-inform", "DER", data=made).stdout) as c:
                at = str(int(moment(wanted["not_before"]).timestamp()))
                verdict = openssl("verify", "-partial_chain", "-check_ss_sig", "-attime", at, "-trusted", anchor.name, c.name)
            need(verdict.returncode == 0, "certificate: its issuer's signature does not hold")
            told = openssl("x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "multiline,utf8,-esc_msb",
                           "-serial", "-dates", "-dateopt", "iso_8601", data=made).stdout.decode()
            name = subject(told, "subject")
            need(name.get("organizationName") == wanted["organization"], "certificate: organization")
            need(name.get("commonName") == mark + wanted["common_name"], "certificate: common name")
            for field, planned in [("notBefore", wanted["not_before"]), ("notAfter", wanted["not_after"])]:
                need(f"{field}={planned.replace('T', ' ')}\n" in told, f"certificate: {field}")
            if "serial" in wanted:
                need(f"serial={wanted['serial'].upper()}\n" in told, "certificate: serial")
            key = openssl("x509", "-inform", "DER", "-noout", "-pubkey", data=made).stdout
            key = openssl("pkey", "-pubin", "-outform", "DER", data=key).stdout
            if kind == "root":
                need(key == files.get("outputs/key.spki"), "certificate: it is for another key than was made")
        if wanted := plan.get("crl"):
            made = files.get("outputs/ca.crl", b"")
            verdict = openssl("crl", "-inform", "DER", "-noout", "-CAfile", anchor.name, "-verify", data=made)
            need(verdict.returncode == 0 and b"verify OK" in verdict.stderr, "CRL: its signature does not hold")
            told = openssl("crl", "-inform", "DER", "-noout", "-text", "-crlnumber", "-lastupdate", "-nextupdate",
                           "-dateopt", "iso_8601", data=made).stdout.decode()
            for field, planned in [("lastUpdate", wanted["this_update"]), ("nextUpdate", wanted["next_update"])]:
                need(f"{field}={planned.replace('T', ' ')}\n" in told, f"CRL: {field}")
            number = re.search(r"^crlNumber=(?:0x)?([0-9A-F]+)$", told, re.M)
            need(number and int(number[1], 16) == wanted["number"], "CRL: number")
            listed = sorted(re.findall(r"Serial Number: ([0-9A-F]+)", told))
            need(listed == sorted(line["serial"].upper() for line in wanted.get("revoked", [])), "CRL: what is revoked")


def verify(data, rehearsal):
    files = tar_read(data)
    for name in ("plan.toml", "script.txt", "transcript.jsonl", "SHA256SUMS"):
        need(name in files, f"{name} is missing")
    listed = sorted((name for name in files if name != "SHA256SUMS" and not name.startswith("seals/")), key=str.encode)
    need(files["SHA256SUMS"] == "".join(f"{sha256(files[n])}  {n}\n" for n in listed).encode(), "SHA256SUMS")
    try:
        plan = tomllib.loads(files["plan.toml"].decode())
        script = files["script.txt"].decode()
    except ValueError:
        raise No("plan.toml or script.txt cannot be read") from None
    need(plan.get("format") == "holdfast-ceremony-1", "plan: its format")
    records, head = transcript_read(files["transcript.jsonl"], sha256(files["plan.toml"]))
    begun = records[0]
    mode = begun["facts"].get("mode")
    need(mode in ("ceremony", "rehearsal"), "transcript: it does not say whether it is a rehearsal")
    need(mode == "ceremony" or rehearsal, "this is a REHEARSAL: nothing in it is to be believed")
    program = begun["inputs"].get("program")
    need(program and (mode == "rehearsal" or program == plan.get("binary_sha256")), "another program than the plan names")
    need(begun["inputs"].get("script") == sha256(files["script.txt"]), "script: another one was on the table")
    need(script.startswith(f"{mode.upper()} SCRIPT  {plan['name']}  "), "script: not of this plan")
    need(sha256(files["plan.toml"]) in re.sub(r"\s", "", script), "script: not of this plan")
    inputs = {"inputs/" + i["file"]: i["sha256"] for i in plan.get("input", {}).values()}
    for name in files:
        folder = name.split("/")[0] if "/" in name else ""
        known = name in inputs if folder == "inputs" else folder in ("approvals", "seals", "outputs")
        known = known or mode == "rehearsal" and name == "standins/issuer.cer"
        need(known or name in ("plan.toml", "script.txt", "transcript.jsonl", "SHA256SUMS"), f"{name} does not belong here")
    for name, wanted in inputs.items():
        need(name in files and sha256(files[name]) == wanted, f"{name} is not the plan's")
    done = steps_done(records, script)
    made = {f"outputs/{name}": value for record in done.values() for name, value in record["outputs"].items()}
    there = {name: sha256(files[name]) for name in files if name.startswith("outputs/")}
    need(there == made, "outputs: not exactly what the transcript tells")
    certificates(files, plan, mode)
    wanted = {"ceremony": plan["name"], "mode": mode, "plan-sha256": sha256(files["plan.toml"]),
              "script-sha256": sha256(files["script.txt"]), "program-sha256": program, "medium-sha256": "none"}
    counted = [r for r in done.values() if any(name.startswith("approved by ") for name in r["facts"])]
    need(len(counted) == 1, "transcript: nobody counted the approvals")
    given = quorum(files, "approvals/", wanted, plan, moment(counted[0]["time"]))
    told = {f"approved by {said['role']}": said["person"] for said in given}
    need({n: v for n, v in counted[0]["facts"].items() if n.startswith("approved by ")} == told, "transcript: who approved")
    sealed = wanted | {"ceremony": plan["name"] + " sealed", "medium-sha256": sha256(files["SHA256SUMS"])}
    quorum(files, "seals/", sealed, plan, None)
    return plan, mode, records, given, head, sha256(files["SHA256SUMS"])


def main():
    arguments = [a for a in sys.argv[1:] if a != "--rehearsal"]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(arguments[0], "rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        plan, mode, records, given, head, sums = verify(data, "--rehearsal" in sys.argv)
    except No as why:
        print(f"NO: {why}")
        return 3
    except (KeyError, TypeError, AttributeError) as missing:
        print(f"NO: plan.toml: {missing!r}")
        return 3
    print(f"{mode} {plan['name']} ({plan['kind']}), {len(records)} records, all of them agree")
    for said in given:
        print(f"approved by {said['person']} ({said['role']}) at {said['time']}")
    for record in records:
        if record["event"] in ("deviation", "void"):
            print(f"{record['event']} at step {record['step']}: {record['facts']}")
    print(f"transcript  {head}")
    print(f"SHA256SUMS  {sums}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
