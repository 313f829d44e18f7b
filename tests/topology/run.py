#!/usr/bin/env python3
"""Run what docker-compose.yml and the Dockerfile say, without a container engine.

Every service of a profile becomes a process in namespaces of its own (mounts, processes, network), below a read-only root
that is this machine's with what the Dockerfile copies laid over it, as the user, without capabilities, with the volumes,
secrets, environment and health checks of the files. Packages that the Dockerfile installs must be installed here. As root.

    run.py PROFILE FOLDER BINARIES

Says {"ready": true} on standard output once every service is healthy. Then it takes orders, one JSON array a line, and
answers each with one JSON object:

    ["exec", SERVICE, [ARGV...]]      {"code": 0, "stdout": "...", "stderr": "..."}; as `docker compose exec`
    ["kill", SERVICE]  ["stop", SERVICE]  ["start", SERVICE]        {"code": exit code, or null}
    ["cut", SERVICE]   ["heal", SERVICE]                            its cable
    ["part", SERVICE, OTHER] ["join", SERVICE, OTHER]               what it sends to the other is lost; not the other way
    ["healthy", SERVICE]                                            {"healthy": true or false}
    ["facts", SERVICE]                                              what its first process may do, from /proc

The end of standard input ends everything.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*argv, **more):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **more).stdout


def seconds(text):
    return sum(float(n) * {"ms": 0.001, "s": 1, "m": 60}[u] for n, u in re.findall(r"([\d.]+)(ms|s|m)", text))


class Image:
    """A stage of the Dockerfile, with all that it is made from."""

    def __init__(self, stages, name):
        self.entrypoint, self.environment, self.user, self.copies, self.folders = [], {}, "0", [], []
        parent, steps = stages[name]
        if parent in stages:
            base = Image(stages, parent)
            self.__dict__.update(base.__dict__)
        for word, rest in steps:
            if word == "ENTRYPOINT":
                self.entrypoint = json.loads(rest)
            elif word == "USER":
                self.user = rest
            elif word == "ENV":
                self.environment = self.environment | dict(pair.split("=", 1) for pair in shlex.split(rest))
            elif word == "COPY":
                words = shlex.split(rest)
                flags = [w for w in words if w.startswith("--")]
                words = [w for w in words if not w.startswith("--")]
                mode = next((f.split("=")[1] for f in flags if f.startswith("--chmod=")), None)
                built = any(f.startswith("--from=build") for f in flags)
                self.copies = self.copies + [(source, words[-1], mode, built) for source in words[:-1]]
            elif word == "RUN":
                for mode, folders in re.findall(r"install -d -o holdfast -g holdfast -m (\d+) ([^&]+)", rest):
                    self.folders = self.folders + [(folder, mode) for folder in folders.split()]


def stages(text):
    """The Dockerfile: name of the stage -> (what it is from, [(instruction, its text)])."""
    found, steps = {}, None
    text = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    for line in text.splitlines():
        if not line.strip():
            continue
        word, rest = line.split(None, 1)
        if word == "FROM":
            parent, _, name = rest.split()
            steps = []
            found[name] = (parent, steps)
        else:
            steps.append((word, rest.strip()))
    return found


class Service:
    def __init__(self, topology, name, said, number):
        self.topology, self.name, self.said = topology, name, said
        self.image = Image(topology.stages, topology.target_of(said))
        self.address = f"10.77.{topology.net}.{number + 2}"
        self.net = f"hf{topology.net}-{number}"
        self.cable = f"hf{topology.net}c{number}"
        self.place = os.path.join(topology.folder, "services", name)
        self.root = os.path.join(self.place, "root")
        self.process = None
        unknown = set(said) - KNOWN
        if unknown:
            raise SystemExit(f"docker-compose.yml: {name}: this runner does not know {sorted(unknown)}")

    def wire(self):
        run("ip", "netns", "add", self.net)
        switch = self.topology.switch
        run("ip", "link", "add", self.cable, "netns", switch, "type", "veth", "peer", "name", "eth0", "netns", self.net)
        run("ip", "-n", switch, "link", "set", self.cable, "master", "br0", "up")
        run("ip", "-n", self.net, "address", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.net, "link", "set", "eth0", "up")
        run("ip", "-n", self.net, "link", "set", "lo", "up")

    def build(self):
        """The image: an upper layer with what the Dockerfile copies."""
        upper = os.path.join(self.place, "upper")
        for folder in (upper, os.path.join(self.place, "work"), self.root):
            os.makedirs(folder)
        os.chmod(upper, 0o755)
        for source, target, mode, built in self.image.copies:
            if built:
                source = os.path.join(self.topology.binaries, os.path.basename(source))
            to = upper + target
            if target.endswith("/"):
                to += os.path.basename(source)
            os.makedirs(os.path.dirname(to), mode=0o755, exist_ok=True)
            run("install", "-m", mode or ("0755" if built else "0644"), os.path.join(ROOT, source), to)
        for folder, mode in self.image.folders:
            run("install", "-d", "-o", self.image.user, "-g", self.image.user, "-m", mode, upper + folder)
        for mount in self.mounts():
            if not os.path.exists(upper + mount[1]):
                if os.path.isdir(mount[0]):
                    os.makedirs(upper + mount[1])
                else:
                    os.makedirs(os.path.dirname(upper + mount[1]), exist_ok=True)
                    open(upper + mount[1], "w", encoding="utf-8").close()
        os.makedirs(upper + "/etc", exist_ok=True)
        for file, line in (("passwd", f"holdfast:x:{self.image.user}:{self.image.user}::/var/lib/holdfast:/usr/sbin/nologin"), ("group", f"holdfast:x:{self.image.user}:")):
            with open(f"/etc/{file}", encoding="utf-8") as before, open(f"{upper}/etc/{file}", "w", encoding="utf-8") as after:
                after.write(before.read() + line + "\n")
        with open(upper + "/etc/hosts", "w", encoding="utf-8") as hosts:
            hosts.write("127.0.0.1 localhost\n")
            hosts.writelines(f"{s.address} {s.name}\n" for s in self.topology.services.values())

    def mounts(self):
        """(from, to, options) of volumes and secrets. A new volume belongs to whom the image's folder belongs."""
        found = []
        for volume in self.said.get("volumes", []):
            source, target, *options = volume.split(":")
            if source.startswith("."):
                source = os.path.join(ROOT, source)
            else:
                source = os.path.join(self.topology.folder, "volumes", source)
                if not os.path.exists(source):
                    mode = dict(self.image.folders).get(target, "0755")
                    run("install", "-d", "-o", self.image.user, "-g", self.image.user, "-m", mode, source)
            found.append((source, target, options))
        # Of two, one inside of the other, the outer first.
        found.sort(key=lambda mount: len(mount[1]))
        for name in self.said.get("secrets", []):
            found.append((self.topology.secret(name), f"/run/secrets/{name}", ["ro"]))
        return found

    def start(self):
        quote, root = shlex.quote, self.root
        lines = [
            "set -e",
            "mount --make-rprivate /",
            f"mount -t overlay overlay -o lowerdir=/,upperdir={quote(self.place)}/upper,workdir={quote(self.place)}/work {quote(root)}",
            f"mount -t proc proc {quote(root)}/proc",
            f"mount --rbind /dev {quote(root)}/dev",
            # That of this network: `ip netns exec` mounted it.
            f"mount --rbind /sys {quote(root)}/sys",
        ]
        for source, target, options in self.mounts():
            lines.append(f"mount --bind {quote(source)} {quote(root + target)}")
            if "ro" in options:
                lines.append(f"mount -o remount,bind,ro {quote(root + target)}")
        for mount in self.said.get("tmpfs", []):
            target, _, options = mount.partition(":")
            lines.append(f"mount -t tmpfs -o {quote(options or 'mode=1777')} tmpfs {quote(root + target)}")
        if self.said.get("read_only"):
            lines.append(f"mount -o remount,ro {quote(root)}")
        lines.append(f"exec chroot {quote(root)} {self.as_user(self.argv())}")
        with open(os.path.join(self.place, "log"), "ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.net, "unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", "\n".join(lines)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            )

    def argv(self):
        command = self.said.get("command", [])
        return (self.said.get("entrypoint") or self.image.entrypoint) + command

    def as_user(self, argv):
        """As the image's user, in an environment of the files alone, without what the compose file drops."""
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/var/lib/holdfast"}
        environment |= self.image.environment | self.said.get("environment", {})
        user = self.image.user
        limits = [f"--{name}={'unlimited' if limit == -1 else limit}" for name, limit in self.said.get("ulimits", {}).items()]
        # Root of a sandbox may not raise what was set for it: those limits stay.
        limits = [limit for limit in limits if subprocess.run(["prlimit", limit, "true"], capture_output=True, check=False).returncode == 0]
        words = ["/usr/bin/prlimit", *limits, "/usr/bin/setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
        if "ALL" in self.said.get("cap_drop", []):
            words += ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        if "no-new-privs" in self.said.get("security_opt", []) or "no-new-privileges:true" in self.said.get("security_opt", []):
            words += ["--no-new-privs"]
        words += ["/usr/bin/env", "-i"] + [f"{k}={v}" for k, v in environment.items()] + argv
        return " ".join(shlex.quote(word) for word in words)

    def first(self):
        """The first process inside, seen from here."""
        below = self.process.pid
        while True:
            with open(f"/proc/{below}/task/{below}/children", encoding="ascii") as file:
                children = file.read().split()
            if os.readlink(f"/proc/{below}/ns/pid") != os.readlink("/proc/self/ns/pid"):
                return below
            if not children:
                raise ProcessLookupError(self.name)
            below = int(children[0])

    def execute(self, argv, patience=60):
        try:
            inside = str(self.first())
        except OSError:
            return 125, "", f"{self.name} does not run"
        done = subprocess.run(
            ["nsenter", "--target", inside, "--mount", "--net", "--pid", "--root", "--wd", "/bin/sh", "-c", "exec " + self.as_user(argv)],
            capture_output=True, text=True, timeout=patience, stdin=subprocess.DEVNULL, check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def healthy(self):
        check = self.said["healthcheck"]
        assert check["test"][0] == "CMD", self.name
        try:
            return self.execute(check["test"][1:], seconds(check["timeout"]))[0] == 0
        except subprocess.TimeoutExpired:
            return False

    def ended(self):
        return self.process is None or self.process.poll() is not None

    def stop(self, number, patience):
        """Signal the first process; its exit code, after SIGKILL when it takes too long."""
        if self.ended():
            return self.process and self.process.returncode
        try:
            os.kill(self.first(), number)
            return self.process.wait(patience)
        except (ProcessLookupError, FileNotFoundError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
            return None

    def log(self):
        with open(os.path.join(self.place, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()


KNOWN = {
    "profiles", "build", "image", "entrypoint", "command", "environment", "volumes", "secrets", "depends_on", "healthcheck", "ports",
    "read_only", "ulimits", "cap_drop", "security_opt", "tmpfs", "restart", "stop_grace_period", "stop_signal",
}


class Topology:
    def __init__(self, profile, folder, binaries):
        self.folder, self.binaries, self.net = folder, binaries, os.getpid() % 250
        self.switch = f"hf{self.net}-s"
        with open(os.path.join(ROOT, "Dockerfile"), encoding="utf-8") as file:
            self.stages = stages(file.read())
        with open(os.path.join(ROOT, "docker-compose.yml"), encoding="utf-8") as file:
            self.file = yaml.safe_load(file)
        said = {n: s for n, s in self.file["services"].items() if profile in s.get("profiles", [profile])}
        self.services = {}
        for number, (name, service) in enumerate(said.items()):
            self.services[name] = Service(self, name, service, number)
        run(os.path.join(ROOT, "packaging/cluster/secrets.sh"), os.path.join(folder, "secrets"))

    def target_of(self, said):
        """The stage it is built from; a service may also name only the image that another one builds."""
        for other in [said, *self.file["services"].values()]:
            if "build" in other and other.get("image") == said.get("image"):
                return other["build"]["target"]
        raise SystemExit(f"docker-compose.yml: nobody builds {said.get('image')}")

    def secret(self, name):
        return os.path.join(self.folder, "secrets", os.path.basename(self.file["secrets"][name]["file"]))

    def up(self):
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        for service in self.services.values():
            service.wire()
            service.build()
        waiting, deadline = list(self.services.values()), time.monotonic() + 180
        fine = set()
        while len(fine) < len(self.services):
            for service in list(waiting):
                if all(self.holds(on, says["condition"], fine) for on, says in service.said.get("depends_on", {}).items()):
                    service.start()
                    waiting.remove(service)
            for name, service in self.services.items():
                if name in fine or service.process is None:
                    continue
                if service.ended() and ("healthcheck" in service.said or service.process.returncode != 0):
                    raise SystemExit(f"{name} ended with {service.process.returncode}:\n{service.log()}")
                if service.healthy() if "healthcheck" in service.said else service.ended():
                    fine.add(name)
            if time.monotonic() > deadline:
                slow = next(n for n in self.services if n not in fine)
                raise SystemExit(f"{slow} is not healthy:\n{self.services[slow].log()}")
            time.sleep(0.1)

    def holds(self, name, condition, fine):
        return name not in self.services or name in fine or condition == "service_started"

    def down(self):
        for service in reversed(self.services.values()):
            number = getattr(signal, service.said.get("stop_signal", "SIGTERM"))
            service.stop(number, 10)
        for name in [self.switch, *(s.net for s in self.services.values())]:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def obey(self, order):
        what, service, *rest = order[0], self.services[order[1]], *order[2:]
        cable = ("ip", "-n", self.switch, "link", "set", service.cable)
        if what == "exec":
            code, out, err = service.execute(rest[0])
            return {"code": code, "stdout": out, "stderr": err}
        if what == "kill":
            return {"code": service.stop(signal.SIGKILL, 10)}
        if what == "stop":
            number = getattr(signal, service.said.get("stop_signal", "SIGTERM"))
            return {"code": service.stop(number, seconds(service.said.get("stop_grace_period", "10s")))}
        if what == "start":
            service.start()
        elif what == "cut":
            run(*cable, "down")
        elif what == "heal":
            run(*cable, "up")
        elif what in ("part", "join"):
            verb = "add" if what == "part" else "delete"
            run("ip", "-n", service.net, "route", verb, "blackhole", f"{self.services[rest[0]].address}/32")
        elif what == "healthy":
            return {"healthy": service.healthy()}
        elif what == "facts":
            with open(f"/proc/{service.first()}/status", encoding="ascii") as file:
                return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        else:
            raise SystemExit(f"no such order: {what}")
        return {"code": None}


def main():
    profile, folder, binaries = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    topology = Topology(profile, os.path.abspath(folder), os.path.abspath(binaries))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        topology.up()
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            print(json.dumps(topology.obey(json.loads(line))), flush=True)
    finally:
        topology.down()


if __name__ == "__main__":
    main()
