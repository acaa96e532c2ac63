"""Machines, as far as one can play them: network namespaces with an address each, joined by a bridge in one more."""

import contextlib
import os
import shutil
import subprocess
import uuid

HUB, PORT = "hub", 2222


def why_not() -> str | None:
    """What keeps this machine from making network namespaces, if anything does."""
    if not shutil.which("ip"):
        return "no ip command (Debian's iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"try-{uuid.uuid4().hex[:8]}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode:
        return f"ip netns add: {done.stderr.strip()}"
    _ip("netns", "del", name)
    return None


class Machines:
    def __init__(self, count: int):
        self.mark = uuid.uuid4().hex[:6]
        self.addresses = [f"10.77.0.{1 + machine}:{PORT}" for machine in range(count)]

    def _name(self, machine) -> str:
        return f"{self.mark}-{machine}"

    def command(self, machine: int, *arguments: str) -> list[str]:
        """`arguments` as that machine runs them."""
        return ["ip", "netns", "exec", self._name(machine), *arguments]

    def cut_cable(self, machine: int) -> None:
        _ip("-n", self._name(HUB), "link", "set", f"port{machine}", "down")


@contextlib.contextmanager
def machines(count: int):
    made = Machines(count)
    hub, names = made._name(HUB), []
    try:
        _ip("netns", "add", hub)
        names.append(hub)
        _ip("-n", hub, "link", "add", "name", "bridge0", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge0", "up")
        for machine in range(count):
            name = made._name(machine)
            _ip("netns", "add", name)
            names.append(name)
            port = f"port{machine}"
            _ip("-n", hub, "link", "add", "name", port, "type", "veth", "peer", "name", "cable", "netns", name)
            _ip("-n", hub, "link", "set", port, "master", "bridge0", "up")
            _ip("-n", name, "address", "add", f"10.77.0.{1 + machine}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
        yield made
    finally:
        for name in names:
            _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
