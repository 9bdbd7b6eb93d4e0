"""A real object store on loopback: OpenStack Swift with its S3 interface, on one disk.

Four servers of Debian's packages (swift-proxy, swift-account, swift-container, swift-object) run in
a directory of the test. `cut` puts a line between that is cut after some bytes.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from tests.helpers.slurm_cluster import free_ports

KINDS = ("account", "container", "object")
NEEDED = ("swift-ring-builder", *(f"swift-{kind}-server" for kind in (*KINDS, "proxy")))

_SERVER = """
[DEFAULT]
swift_dir = {place}
devices = {place}/node
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
disable_fallocate = true
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

_PROXY = """
[DEFAULT]
swift_dir = {place}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
[pipeline:main]
pipeline = catch_errors cache s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:slo]
use = egg:swift#slo
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""


def missing() -> list[str]:
    """Return the programs of Swift that are not installed here."""
    return [name for name in NEEDED if shutil.which(name) is None]


def environment(port: int) -> dict[str, str]:
    """Return the environment in which any S3 client finds the store at a port."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test:tester",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def swift(place: Path, *buckets: str) -> Iterator[int]:
    """Run the store in a directory, with buckets; yield the port of its S3 interface."""
    (place / "node" / "d1").mkdir(parents=True)
    (place / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = deepclean\n")
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    ports = dict(zip((*KINDS, "proxy"), free_ports(4), strict=True))
    for kind, port in ports.items():
        text = _PROXY if kind == "proxy" else _SERVER
        conf = text.format(place=place, port=port, user=user, kind=kind)
        (place / f"{kind}.conf").write_text(conf)
    for kind in KINDS:
        builder = str(place / f"{kind}.builder")
        device = f"r1z1-127.0.0.1:{ports[kind]}/d1"
        for words in (["create", "4", "1", "1"], ["add", device, "1"], ["rebalance"]):
            made = subprocess.run(
                ["swift-ring-builder", builder, *words], capture_output=True, check=False
            )
            assert made.returncode < 2, made.stdout  # 1: with a warning
    with ExitStack() as stack:
        for kind in ports:
            said = stack.enter_context((place / f"{kind}.log").open("w"))
            process = subprocess.Popen(
                [f"swift-{kind}-server", str(place / f"{kind}.conf")], stdout=said, stderr=said
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        _await(ports.values())
        for bucket in buckets:
            _make(bucket, ports["proxy"])
        yield ports["proxy"]


@contextmanager
def cut(port: int, after: int) -> Iterator[tuple[int, list[int]]]:
    """Put a line before a port on which each connection is cut after some bytes, while it is bad.

    Yields:
        The line's own port, and a list: while it is empty the line is bad.
    """
    good: list[int] = []
    ends: list[socket.socket] = []
    pipes: list[threading.Thread] = []
    listening = socket.create_server(("127.0.0.1", 0))
    own = listening.getsockname()[1]

    def pipe(source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                if limit is not None and passed > limit:
                    break
                target.sendall(data)
        _shut(source, target)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.create_connection(("127.0.0.1", port))
                ends.extend((client, server))
                limit = None if good else after
                for pair in ((client, server), (server, client)):
                    pipes.append(threading.Thread(target=pipe, args=(*pair, limit), daemon=True))
                    pipes[-1].start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield own, good
    finally:
        _shut(listening)
        thread.join(5)
        _shut(*ends)
        for each in pipes:
            each.join(5)
        for end in (listening, *ends):
            end.close()


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _make(bucket: str, port: int) -> None:
    """Make a bucket, by a signed request."""
    from obstore import sign
    from obstore.store import S3Store

    names = environment(port)
    store = S3Store(
        bucket,
        endpoint=names["AWS_ENDPOINT_URL"],
        access_key_id=names["AWS_ACCESS_KEY_ID"],
        secret_access_key=names["AWS_SECRET_ACCESS_KEY"],
        region=names["AWS_REGION"],
        client_options={"allow_http": True},
    )
    signed = sign(store, "PUT", "", timedelta(minutes=1))
    with urllib.request.urlopen(urllib.request.Request(signed, method="PUT")) as answer:
        assert answer.status == 200


def _await(ports: object) -> None:
    deadline = time.monotonic() + 60
    for port in list(ports):  # type: ignore[call-overload]
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, f"port {port} does not answer"
            time.sleep(0.05)
