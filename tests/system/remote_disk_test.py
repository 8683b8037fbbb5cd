#!/usr/bin/env python3
"""Disks on servers: NBD by nbdkit, qemu-nbd and doppel-nbd, and HTTP by a server written here.

usage: remote_disk_test.py DOPPEL_IMG DOPPEL_NBD DOPPEL_SYSTEM     exit status 77: skipped, a program it needs is missing
"""
import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

from commands import TIME_LIMIT, run_to_end, wait_until_listening

MIB = 1 << 20
NEEDED = ["qemu-img", "qemu-io", "qemu-nbd", "nbdkit", "psktool"]


def run(*command, status=0):
    """Standard output and errors; the exit status must be as expected."""
    done = run_to_end(*command, status=status)
    return done.stdout + done.stderr


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Server:
    """A program that listens on the Unix socket s.sock in this directory."""

    def __init__(self, *command):
        if os.path.exists("s.sock"):
            os.remove("s.sock")
        self.process = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
        self.path = os.path.abspath("s.sock")
        wait_until_listening(self.path)

    def __enter__(self):
        self.uri = f"nbd+unix:///?socket={self.path}"
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(TIME_LIMIT)


def nbdkit(*arguments):
    return Server("nbdkit", "-f", "-U", os.path.abspath("s.sock"), *arguments)


def make_images():
    run("qemu-img", "create", "-q", "-f", "raw", "a.raw", "20M")
    run("qemu-io", "-f", "raw", "-c", "write -P 5 1M 3M", "-c", "write -P 9 15M 100k", "-c", "write -P 3 20479k 1k", "a.raw")
    run("qemu-img", "convert", "-O", "qcow2", "a.raw", "a.qcow2")


def round_trip(img, uri):
    """a.raw goes there and comes back."""
    run(img, "convert", "-n", "-f", "raw", "-O", "raw", "a.raw", uri)
    expect("identical" in run(img, "compare", "-f", "raw", "-F", "raw", "a.raw", uri), "not the same")
    run(img, "convert", "-f", "raw", "-O", "qcow2", uri, "back.qcow2")
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "a.raw", "back.qcow2")


def against_nbdkit(img):
    with nbdkit("memory", "20M") as server:
        expect("virtual size: 20 MiB" in run(img, "info", server.uri), "size")
        round_trip(img, server.uri)
        for command in (["info"], ["map", "--output=json"]):
            ours, theirs = (run(tool, *command, "-f", "raw", server.uri).replace("unix:///?", "unix://?") for tool in (img, "qemu-img"))
            expect(ours == theirs, f"{command}\n{ours}\n{theirs}")
        expect("identical" in run(img, "compare", "-f", "raw", "-F", "raw", "a.raw", f"nbd:unix:{server.path}"), "the old spelling")
        expect("is on a server" in run(img, "convert", "a.raw", server.uri, status=1), "creating there")
    for options in (["--filter=blocksize-policy", "memory", "20M", "blocksize-minimum=4096", "blocksize-error-policy=error"],
                    ["--filter=nozero", "memory", "20M"], ["--filter=noextents", "memory", "20M"], ["--no-sr", "memory", "20M"],
                    ["--filter=delay", "memory", "20M", "rdelay=5ms"]):
        with nbdkit(*options) as server:
            round_trip(img, server.uri)
    # Replies that come in the middle of what is sent.
    for _ in range(8):
        with nbdkit("--no-sr", "memory", "20M") as server:
            run(img, "convert", "-n", "-f", "raw", "-O", "raw", "a.raw", server.uri)
    # A disk in the format qcow2 that lies on a server, unaligned metadata and all.
    with nbdkit("--filter=blocksize-policy", "memory", "40M", "blocksize-minimum=4096", "blocksize-error-policy=error") as server:
        run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "small.qcow2", "2M")
        run("qemu-io", "-c", "write -P 8 700k 100k", "small.qcow2")
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "small.qcow2", server.uri)
        expect("identical" in run(img, "compare", "-f", "qcow2", "-F", "qcow2", "small.qcow2", server.uri), "qcow2 on a server")
        run(img, "snapshot", "-c", "there", server.uri)
        expect("there" in run("qemu-img", "snapshot", "-l", server.uri), "a snapshot made on a server")
    with nbdkit("--filter=error", "pattern", "20M", "error-pread-rate=100%") as server:
        expect("Input/output error" in run(img, "convert", "-f", "raw", "-O", "raw", server.uri, "out.raw", status=1), "an error of the server")
    with nbdkit("-r", "memory", "20M") as server:
        expect("read-only" in run(img, "convert", "-n", "-O", "raw", "a.raw", server.uri, status=1), "a read-only export")
    with nbdkit("--filter=delay", "pattern", "20M", "rdelay=30") as server:
        # The server is gone in the middle of a read.
        tool = subprocess.Popen([img, "convert", "-f", "raw", "-O", "raw", server.uri, "out.raw"], stderr=subprocess.PIPE, text=True)
        time.sleep(3)
        server.process.kill()
        error = tool.communicate(timeout=TIME_LIMIT)[1]
        expect(tool.returncode == 1 and "cannot read" in error, f"a server that dies: {tool.returncode} {error!r}")
    os.makedirs("psk", exist_ok=True)
    run("psktool", "-u", "bob", "-p", "psk/keys.psk")
    with nbdkit("--tls=require", f"--tls-psk={os.getcwd()}/psk/keys.psk", "memory", "20M") as server:
        round_trip(img, f"nbds+unix://bob@/?socket={server.path}&tls-psk-file={os.getcwd()}/psk/keys.psk")
        expect("cannot open" in run(img, "info", server.uri, status=1), "in the clear")


def against_others(img, nbd):
    for command in (["qemu-nbd", "-t", "-f", "qcow2"], [nbd, "-t", "-f", "qcow2"]):
        run("qemu-img", "create", "-q", "-f", "qcow2", "b.qcow2", "20M")
        with Server(*command, "-x", "disk", "-k", os.path.abspath("s.sock"), "b.qcow2") as server:
            round_trip(img, f"nbd+unix:///disk?socket={server.path}")
            round_trip(img, f"nbd:unix:{server.path}:exportname=disk")
            expect("cannot open" in run(img, "info", f"nbd+unix:///none?socket={server.path}", status=1), "no such export")
        run("qemu-img", "compare", "-f", "raw", "a.raw", "b.qcow2")


def as_nodes(img, nbd):
    """Driver nbd in a graph, in both of its spellings."""
    with Server(nbd, "-t", "-f", "raw", "-x", "disk", "-k", os.path.abspath("s.sock"), "a.raw") as server:
        for options in (f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={server.path},file.export=disk",
                        f"driver=nbd,path={server.path},export=disk", f"driver=raw,file.filename=nbd+unix:///disk?socket={server.path}"):
            run(img, "convert", "--image-opts", "-O", "raw", options, "out.raw")
            run("cmp", "out.raw", "a.raw")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([nbd, "-t", "-f", "raw", "-b", "127.0.0.1", "-p", str(port), "a.raw"])
    for _ in range(100):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    run(img, "convert", "--image-opts", "-O", "raw", f"driver=nbd,server.type=inet,server.host=127.0.0.1,server.port={port}", "out.raw")
    run("cmp", "out.raw", "a.raw")
    server.terminate()
    expect(server.wait(TIME_LIMIT) == 0, "the server's end")
    for options, sentence in (("driver=nbd", "nbd needs server.host="), ("driver=nbd,server.type=unix", "nbd needs server.path="),
                              ("driver=nbd,server.host=a,server.path=b", "not both"), ("driver=nbd,server.tipe=unix", "server.tipe")):
        expect(sentence in run(img, "info", "--image-opts", options, status=1), options)


def boot(system, nbd):
    """SeaBIOS reads a boot sector over NBD: mov dx, 0xf4; mov al, 0x10; out dx, al; hlt."""
    if not os.path.exists("/usr/share/seabios/bios-256k.bin"):
        print("not booted: SeaBIOS (seabios) is not installed")
        return
    with open("boot.raw", "wb") as file:
        file.write(bytes.fromhex("baf400b010eef4").ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB))
    with Server(nbd, "-f", "raw", "-k", os.path.abspath("s.sock"), "boot.raw") as server:
        run(system, "-accel", "soft", "-m", "64", "-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-drive", f"file={server.uri},format=raw,if=ide", status=33)
    with Server(nbd, "-f", "raw", "-k", os.path.abspath("s.sock"), "boot.raw") as server:
        node = json.dumps({"driver": "raw", "node-name": "n", "file": {"driver": "nbd", "server": {"type": "unix", "path": server.path}}})
        run(system, "-accel", "soft", "-m", "64", "-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-blockdev", node, "-device", "ide-hd,drive=n", status=33)


def hostile_servers(img):
    """Whatever a server sends, there is a sentence."""
    for greeting in (b"", b"garbage that is no NBD at all.......", b"NBDMAGICIHAVEOPT\0\3" + b"\xff" * 200):
        listener = socket.socket(socket.AF_UNIX)
        if os.path.exists("evil.sock"):
            os.remove("evil.sock")
        listener.bind("evil.sock")
        listener.listen()

        def answer():
            client = listener.accept()[0]
            client.sendall(greeting)
            client.close()
        thread = threading.Thread(target=answer)
        thread.start()
        expect("cannot open" in run(img, "info", f"nbd:unix:{os.path.abspath('evil.sock')}", status=1), greeting)
        thread.join()
        listener.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Ranges, and what the path asks for besides."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.requests += 1
        name = self.path.lstrip("/")
        if name.startswith("moved/"):
            self.send_response(302)
            self.send_header("Location", "/" + name[6:])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        mode, _, name = name.rpartition("/")
        if not os.path.exists(name) or (mode == "broken" and self.server.requests > 3):
            return self.send_error(500 if mode == "broken" else 404)
        with open(name, "rb") as file:
            contents = file.read()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(wanted[1]), min(int(wanted[2]), len(contents) - 1)) if wanted else (0, len(contents) - 1)
        if mode == "shifted":
            first, last = first + 1, last + 1
        body = contents[first:last + 1]
        if mode == "whole":
            self.send_response(200)
            body = contents
        elif first >= len(contents):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(contents)}")
            body = b""
        else:
            self.send_response(206)
            self.send_header("content-range", f"bytes {first}-{last}/{'*' if mode == 'endless' else len(contents)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who was sent something else leaves
            self.wfile.write(body[:len(body) // 2] if mode == "cut" and len(body) > 1 else body)
        self.close_connection = self.close_connection or mode == "cut"


def over_http(img):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    open("empty.raw", "w").close()
    run(img, "convert", "-O", "raw", f"{url}/a.qcow2", "out.raw")
    run("cmp", "out.raw", "a.raw")
    run(img, "convert", "-f", "raw", "-O", "raw", f"{url}/moved/a.raw", "out.raw")
    run("cmp", "out.raw", "a.raw")
    ours, theirs = (json.loads(run(tool, "map", "--output=json", name)) for tool, name in ((img, f"{url}/a.qcow2"), ("qemu-img", "a.qcow2")))
    expect(ours == theirs and len(ours) > 3, f"map: {ours}, of the file itself {theirs}")
    run(img, "convert", "--image-opts", "-O", "raw", f"driver=qcow2,file.driver=http,file.url={url}/a.qcow2", "out.raw")
    run("cmp", "out.raw", "a.raw")
    expect("http needs url=http://" in run(img, "info", "--image-opts", "driver=raw,file.driver=http,file.url=a.raw", status=1), "no URL")
    info = json.loads(run(img, "info", "--output=json", f"{url}/a.qcow2"))
    expect((info["format"], info["virtual-size"]) == ("qcow2", 20 * MIB), info)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", f"{url}/a.qcow2", "-F", "qcow2", "-u", "over.qcow2", "20M")
    expect("identical" in run(img, "compare", "over.qcow2", "a.raw"), "a backing file on a web server")
    server.requests = 0
    run(img, "bench", "-c", "256", "-d", "16", "-s", "4096", "-f", "raw", f"{url}/a.raw")
    expect(server.requests < 20, f"{server.requests} requests for 1 MiB in small pieces: nothing is read ahead")
    expect("virtual size: 0 B" in run(img, "info", f"{url}/empty.raw"), "an empty file")
    for path, sentence in (("/none", "HTTP status 404"), ("/whole/a.raw", "does not send parts of files"), ("/shifted/a.raw", "other bytes"),
                           ("/endless/a.raw", "does not tell the file's size")):
        expect(sentence in run(img, "info", url + path, status=1), path)
    server.requests = 0
    expect("HTTP status 500" in run(img, "convert", "-f", "raw", "-O", "raw", f"{url}/broken/a.raw", "out.raw", status=1), "an error in the middle")
    expect("cannot read" in run(img, "convert", "-f", "raw", "-O", "raw", f"{url}/cut/a.raw", "out.raw", status=1), "a connection that is cut")
    expect("read-only" in run(img, "convert", "-n", "-f", "raw", "-O", "raw", "a.raw", f"{url}/a.raw", status=1), "writing")
    expect("cannot open" in run(img, "info", "http://127.0.0.1:1/x", status=1), "nobody there")
    server.shutdown()
    server.server_close()


def main():
    img, nbd, system = (os.path.abspath(path) for path in sys.argv[1:4])
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="doppel-remote-", dir=".") as directory:
        os.chdir(directory)
        make_images()
        against_nbdkit(img)
        against_others(img, nbd)
        as_nodes(img, nbd)
        boot(system, nbd)
        hostile_servers(img)
        over_http(img)
        os.chdir("..")
    print("disks on NBD and web servers read and write as they should")


main()
