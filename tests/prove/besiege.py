"""Hostile clients: python -m tests.prove.besiege PORT KEY REQUESTS CLIENTS SEED.

Prints `ready`, waits for a line, and prints a line of JSON: answers by status. Bounded in number, and each in time.
"""

import gzip
import http.client
import json
import random
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.service.api.bodies import attacks
from tests.support import hostile

TIMEOUT_SECONDS = 60.0
LONG_BYTES = 2**20
LONG_SHARE = 0.05
"""Of the requests whose bodies are long on the wire: most of them would only measure this machine's loopback."""


class Request(NamedTuple):
    name: str
    path: str
    headers: dict[str, str]
    body: bytes


def requests() -> Iterator[Request]:
    """One of each kind; images in gzip, as they would come."""
    in_gzip = {"Content-Type": "image/x", "Content-Encoding": "gzip"}
    for name, make in hostile.COSTLY.items():
        yield Request(name, "/score", in_gzip, gzip.compress(make(), 6))
    for attack in attacks():
        if not attack.chunk:
            yield Request(attack.name, attack.path, attack.headers, attack.body())


def raw(port: int) -> list[Callable[[], None]]:
    """Connections that are misused: pipelined heads, unread answers, a body behind a refusal, an early end."""

    def send(data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
            caller.sendall(data)
            caller.settimeout(1)
            caller.recv(100)

    post = b"POST /score HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"
    get = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return [
        lambda: send(get % b"/openapi.json" * 500),
        lambda: send(get % b"/docs/swagger-ui-bundle.js"),
        lambda: send(post % b"Content-Length: 900000" + bytes(500_000)),
        lambda: send(post % b"Transfer-Encoding: chunked" + b"1\r\nA\r\n" * 50_000),
        lambda: send(b"GET / HTTP/1.1\r\nA: " + b"a" * 100_000),
    ]


def main(port: int, key: str, count: int, clients: int, seed: int) -> None:
    """The command."""
    kinds = list(requests())
    short = [kind for kind in kinds if len(kind.body) < LONG_BYTES]
    long = [kind for kind in kinds if len(kind.body) >= LONG_BYTES]
    misuse = raw(port)
    answers: Counter[str] = Counter()

    def client(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        for _ in range(count // clients):
            if chance.random() < 0.1:
                try:
                    chance.choice(misuse)()
                    answers["misused"] += 1
                except OSError:
                    answers["ended"] += 1
                continue
            kind = chance.choice(long if chance.random() < LONG_SHARE else short)
            answers[send(kind)] += 1

    def send(kind: Request) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", kind.path, kind.body, kind.headers | {"Authorization": f"Bearer {key}"})
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException):
            return "ended"
        finally:
            connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
