"""Who takes part in a training on many machines, as TF_CONFIG has it."""

import json
import os
import re
import socket
import time
from dataclasses import dataclass

from kerasref.errors import RunError, UserError

EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The workers by address, HOST:PORT, in the order of their numbers, and which of them this process is."""

    tasks: tuple[tuple[str, int, str], ...]  # job, index in it, address
    worker: int

    @classmethod
    def of_environment(cls) -> "Cluster":
        """As TF_CONFIG has it; raises UserError that says what is expected."""
        text = os.environ.get("TF_CONFIG", "")
        expected = f"expected on the first machine such as\nTF_CONFIG='{EXAMPLE}'; on the next with index 1"
        if not text:
            raise UserError(f"--strategy multi_worker, but TF_CONFIG is not set; {expected}")
        try:
            found = json.loads(text)
            cluster, task = found["cluster"], found["task"]
            if not str(task["index"]).isdigit():
                raise ValueError(f"index {task['index']!r} is no worker's number")
            job, index = task["type"], int(task["index"])
            jobs = [name for name in ("chief", "worker") if name in cluster]
            tasks = tuple((name, i, address) for name in jobs for i, address in enumerate(cluster[name]))
            if others := set(cluster) - {"chief", "worker"}:
                raise ValueError(f"it has {', '.join(sorted(others))}, of which there are none here")
            for _, _, address in tasks:
                host, _, port = address.rpartition(":")
                if not host or not 0 < int(port) < 2**16:
                    raise ValueError(f"{address!r} is no HOST:PORT")
            if len({address for _, _, address in tasks}) < len(tasks):
                raise ValueError("two workers have one address")
            names = [(name, i) for name, i, _ in tasks]
            if (job, index) not in names:
                raise ValueError(f"task {job} {index} is not in its cluster of {len(tasks)}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise UserError(f"TF_CONFIG {text[:200]!r}: {reason}; {expected}") from None
        return cls(tasks, names.index((job, index)))

    def wait_for_all(self, timeout: float) -> None:
        """Until every other worker has been seen at its address; raises RunError that names those who were not within
        `timeout` seconds.

        The engine would wait for minutes, with the interpreter held, and name nobody. So that the others see this
        worker it listens at its own address meanwhile, where the engine's server will.
        """
        port = self._host_and_port(self.worker)[1]
        try:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            listening = socket.create_server(("", port), family=family, dualstack_ipv6=both)
        except OSError as error:
            raise RunError(f"{self.describe([self.worker])} cannot listen at its port: {error.strerror}") from None
        missing, begun = self._others(), time.monotonic()
        with listening:
            while missing := [number for number in missing if not self._answers(number)]:
                if time.monotonic() - begun > timeout:
                    raise RunError(
                        f"{self.describe(missing)} did not come within {timeout:g} s; start the same command on every "
                        "machine of TF_CONFIG, each with its own index"
                    )
                time.sleep(0.1)

    def unreachable(self) -> list[int]:
        """The other workers at whose address nobody answers."""
        return [number for number in self._others() if not self._answers(number)]

    def _others(self) -> list[int]:
        return [number for number in range(len(self.tasks)) if number != self.worker]

    def _answers(self, number: int) -> bool:
        try:
            socket.create_connection(self._host_and_port(number), timeout=2).close()
        except OSError:
            return False
        return True

    def _host_and_port(self, number: int) -> tuple[str, int]:
        host, _, port = self.tasks[number][2].rpartition(":")
        return host.strip("[]"), int(port)

    def named_in(self, text: str) -> list[int]:
        """The other workers whom a message of the engine names, such as /job:worker/replica:0/task:2."""
        named = [(job, int(index)) for job, index in re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", text)]
        return [number for number in self._others() if self.tasks[number][:2] in named]

    def describe(self, numbers: list[int]) -> str:
        return ", ".join(f"worker {number} ({self.tasks[number][2]})" for number in numbers)
