#!/usr/bin/env python3
"""doppel-nbd against libnbd's tools and qemu-img, and against clients that do not keep to the protocol.

usage: doppel_nbd_test.py DOPPEL_NBD DOPPEL_IMG     exit status 77: skipped, a program it needs is missing
"""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from commands import TIME_LIMIT, run_to_end, tell_to_end, wait_until_listening

MIB = 1 << 20
NEEDED = ["qemu-img", "qemu-io", "nbdinfo", "nbdcopy", "certtool", "psktool"]

OPTION_MAGIC = 0x49484156454F5054
EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED, LIST_CONTEXT, SET_CONTEXT = 1, 2, 3, 5, 6, 7, 8, 9, 10
READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)


def run(*command, status=0):
    """Standard output; the exit status must be as expected."""
    done = run_to_end(*command, status=status)
    return done.stdout


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def expect_equal(what, ours, theirs):
    expect(ours == theirs, f"{what}: {ours!r}, expected {theirs!r}")


class Server:
    """A doppel-nbd on a Unix socket, with the resident memory it reached."""

    def __init__(self, program, *arguments, socket_path="nbd.sock"):
        self.path = os.path.abspath(socket_path)
        self.process = subprocess.Popen([program, "-k", self.path, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
        wait_until_listening(self.path)

    def uri(self, name=""):
        return f"nbd+unix:///{name}?socket={self.path}"

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def alive(self):
        return self.process.poll() is None

    def wait(self):
        error = self.process.communicate(timeout=TIME_LIMIT)[1]
        expect_equal("doppel-nbd's exit status", (self.process.returncode, error), (0, ""))

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure is None and self.alive():
            self.process.send_signal(signal.SIGTERM)
            self.wait()
            expect(not os.path.exists(self.path), "the socket's name is left behind")
        elif self.alive():
            self.process.kill()
            self.process.communicate()


class Client:
    """A client that can do wrong. Everything it waits for must come within seconds."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        expect_equal("greeting", self.receive(18), struct.pack(">QQH", 0x4E42444D41474943, OPTION_MAGIC, 3))

    def receive(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def send(self, data):
        self.socket.sendall(data)

    def option(self, option, data=b"", length=None):
        self.send(struct.pack(">QII", OPTION_MAGIC, option, len(data) if length is None else length) + data)

    def reply(self):
        magic, option, kind, length = struct.unpack(">QIII", self.receive(20))
        expect_equal("magic of an option reply", magic, 0x3E889045565A9)
        return option, kind, self.receive(length)

    def replies(self):
        """Until the ACK or an error."""
        found = []
        while True:
            found.append(self.reply())
            if found[-1][1] == 1 or found[-1][1] >= 1 << 31:
                return found

    def begin(self, flags=3):
        self.send(struct.pack(">I", flags))
        return self

    def go(self, name=b"", structured=False):
        if structured:
            self.option(STRUCTURED)
            expect_equal("STRUCTURED_REPLY", self.replies()[-1][1], 1)
        self.option(GO, struct.pack(">I", len(name)) + name + struct.pack(">H", 0))
        answers = self.replies()
        expect_equal("GO", answers[-1][1], 1)
        self.size = struct.unpack(">HQH", answers[0][2])[1]
        return self

    def request(self, command, offset=0, length=0, flags=0, cookie=1, payload=b"", magic=0x25609513):
        self.send(struct.pack(">IHHQQI", magic, flags, command, cookie, offset, length) + payload)

    def simple(self):
        magic, error, cookie = struct.unpack(">IIQ", self.receive(16))
        expect_equal("magic of a reply", magic, 0x67446698)
        return error, cookie

    def ended(self):
        """The server has closed the connection, perhaps behind what it had to say."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self):
        self.socket.close()


def make_images():
    run("qemu-img", "create", "-q", "-f", "raw", "a.raw", "64M")
    run("qemu-io", "-f", "raw", "-c", "write -P 5 1M 3M", "-c", "write -P 9 50M 1M", "-c", "write -P 7 64511k 1k", "a.raw")
    run("qemu-img", "convert", "-O", "qcow2", "a.raw", "base.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "a.qcow2")
    run("qemu-io", "-c", "write -P 3 2M 64k", "-c", "write -z 3M 1M", "a.qcow2")
    run("qemu-img", "convert", "-O", "raw", "a.qcow2", "top.raw")


def reading(program):
    """What other programs see of two exports, next to what the images hold."""
    with Server(program, "-t", "-e", 0, "-r", "-x", "one", "-f", "raw", "-D", "the first", "a.raw",
                "--export", "name=two,file=a.qcow2,format=qcow2,allocation-depth=on") as server:
        listed = json.loads(run("nbdinfo", "--json", "--list", server.uri()))["exports"]
        expect_equal("exports", sorted(entry["export-name"] for entry in listed), ["one", "two"])
        for entry in listed:
            expect_equal("size", entry["export-size"], 64 * MIB)
            expect_equal("read-only", entry["is_read_only"], True)
            expect_equal("multi-conn", entry["can_multi_conn"], True)
        for name, image in (("one", "a.raw"), ("two", "top.raw")):
            run("nbdcopy", server.uri(name), "copy.raw")
            run("cmp", "copy.raw", image)
            run("qemu-img", "convert", "-O", "raw", server.uri(name), "copy.raw")
            run("cmp", "copy.raw", image)
            run("qemu-img", "compare", "-f", "raw", server.uri(name), image)
        for name, image in (("one", "a.raw"), ("two", "a.qcow2")):
            ours = json.loads(run("qemu-img", "map", "--output=json", server.uri(name)))
            path = os.path.join(os.getcwd(), "theirs.sock")
            theirs_server = subprocess.Popen(["qemu-nbd", "-r", "-f", image.split(".")[1], "-k", path, image])
            wait_until_listening(path)
            theirs = json.loads(run("qemu-img", "map", "--output=json", f"nbd+unix:///?socket={path}"))
            theirs_server.wait(TIME_LIMIT)
            expect_equal(f"map of {name}", ours, theirs)
        depths = json.loads(run("nbdinfo", "--json", "--map=qemu:allocation-depth", server.uri("two")))
        expect_equal("allocation depths", [(d["offset"], d["type"]) for d in depths[:5]],
                     [(0, 0), (MIB, 2), (2 * MIB, 1), (2 * MIB + 65536, 2), (3 * MIB, 1)])
        run("qemu-io", "-f", "raw", "-c", "write 0 512", server.uri("one"), status=1)
        run("nbdinfo", server.uri("three"), status=1)


def writing(program, image_program):
    """A random history through qemu-io, and the same one on a plain file."""
    for extra in ([], ["--cache=writethrough"], ["--cache=none"], ["--aio=threads"], ["--discard=unmap"]):
        chance = random.Random(7)
        run("qemu-img", "create", "-q", "-f", "qcow2", "w.qcow2", "32M")
        run("qemu-img", "create", "-q", "-f", "raw", "w.raw", "32M")
        commands = []
        for _ in range(40):
            offset = chance.randrange(31 * MIB) // 512 * 512
            length = chance.choice([512, 4096, 65536, 700_416])
            commands += ["-c", chance.choice([f"write -P {chance.randrange(1, 256)} {offset} {length}",
                                              f"write -f -P {chance.randrange(1, 256)} {offset} {length}",
                                              f"write -z {offset} {length}", f"write -z -u {offset} {length}", "flush"])]
        with Server(program, *extra, "-f", "qcow2", "w.qcow2") as server:
            run("qemu-io", "-f", "raw", "-d", "unmap", *commands, server.uri())
            server.wait()  # without -t it leaves with its only client
        run("qemu-io", "-f", "raw", "-d", "unmap", *commands, "w.raw")
        run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "w.raw", "w.qcow2")
        run("qemu-img", "check", "w.qcow2")
        run(image_program, "check", "w.qcow2")
    with Server(program, "-f", "qcow2", "w.qcow2") as server:
        run("nbdcopy", "a.raw", server.uri(), status=1)  # it does not fit
    run("qemu-img", "create", "-q", "-f", "qcow2", "w.qcow2", "64M")
    with Server(program, "-e", 4, "-f", "qcow2", "w.qcow2") as server:
        run("nbdcopy", "--flush", "a.raw", server.uri())
    run("qemu-img", "compare", "a.raw", "w.qcow2")


def snapshots(program):
    """-s loses what is written; -l shows what was."""
    before = run("md5sum", "a.qcow2")
    with Server(program, "-s", "-f", "qcow2", "a.qcow2") as server:
        run("qemu-io", "-f", "raw", "-c", "write -P 1 0 1M", "-c", "read -P 1 0 1M", "-c", "read -P 3 2M 64k", server.uri())
    expect_equal("the image behind -s", run("md5sum", "a.qcow2"), before)
    run("qemu-img", "convert", "-O", "qcow2", "a.qcow2", "s.qcow2")
    run("qemu-img", "snapshot", "-c", "then", "s.qcow2")
    run("qemu-io", "-c", "write -P 1 0 1M", "s.qcow2")
    with Server(program, "-l", "snapshot.name=then", "s.qcow2") as server:
        run("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 1M", "-c", "read -P 3 2M 64k", server.uri())
    with Server(program, "-o", "1M", "-f", "raw", "a.raw") as server:
        run("qemu-io", "-r", "-f", "raw", "-c", "read -P 5 0 3M", server.uri())


def node_options(program, image_program):
    """Nodes by --image-opts, with a secret, and zeroes that are looked for."""
    secret = ["--object", "secret,id=s,data=word"]
    run(image_program, "create", "-q", "-f", "luks", *secret, "-o", "key-secret=s,iter-time=20", "e.luks", "4M")
    with Server(program, *secret, "--image-opts", "driver=luks,key-secret=s,file.filename=e.luks") as server:
        run("qemu-io", "-f", "raw", "-c", "write -P 9 1M 1M", server.uri())
    run("qemu-io", *secret, "--image-opts", "-c", "read -P 9 1M 1M", "driver=luks,key-secret=s,file.filename=e.luks")
    for mode, allocated in (("off", 1 << 20), ("unmap", 0)):
        run("qemu-img", "create", "-q", "-f", "qcow2", "z.qcow2", "8M")
        with Server(program, f"--detect-zeroes={mode}", "--discard=unmap", "-f", "qcow2", "z.qcow2") as server:
            run("qemu-io", "-f", "raw", "-c", "write -P 0 2M 1M", server.uri())
        found = json.loads(run("qemu-img", "map", "--output=json", "z.qcow2"))
        expect_equal(f"allocated with --detect-zeroes={mode}", sum(part["length"] for part in found if part["data"]), allocated)


def kernel_device(program):
    """The host's kernel as a client, where it has one."""
    if not os.path.exists("/dev/nbd0") or os.geteuid() != 0:
        print("not tried: -c and -d, as there is no /dev/nbd0 or no right to use it")
        return
    run(program, "-c", "/dev/nbd0", "-r", "-f", "raw", "a.raw")
    run("cmp", "/dev/nbd0", "a.raw")
    run(program, "-d", "/dev/nbd0")


def over_tcp(program):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run(program, "--fork", "-t", "-r", "--pid-file=pid", "-b", "127.0.0.1", "-p", port, "-f", "raw", "a.raw")
    pid = int(open("pid").read())
    try:
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", f"nbd://127.0.0.1:{port}", "a.raw")
        run("nbdinfo", f"nbd://127.0.0.1:{port}")
        taken = subprocess.run([program, "-b", "127.0.0.1", "-p", str(port), "-r", "a.raw"], capture_output=True, text=True)
        expect("cannot listen" in taken.stderr and taken.returncode == 1, taken.stderr)
    finally:
        os.kill(pid, signal.SIGTERM)
    for _ in range(600):
        if not os.path.exists("pid"):
            break
        time.sleep(0.05)
    expect(not os.path.exists("pid"), "the pid file is left behind")
    run("nbdinfo", "--", "[", program, "-r", "-f", "raw", "a.raw", "]")  # socket activation


def certificate(name, *fields):
    run("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile", f"tls/{name}-key.pem")
    with open("template", "w") as template:
        template.write("\n".join([f'cn = "{name}"', "expiration_days = 7", *fields]))
    authority = ["--generate-self-signed"] if name == "ca" else [
        "--generate-certificate", "--load-ca-certificate", "tls/ca-cert.pem", "--load-ca-privkey", "tls/ca-key.pem"]
    run("certtool", *authority, "--load-privkey", f"tls/{name}-key.pem", "--template", "template", "--outfile", f"tls/{name}-cert.pem")


def encrypted(program):
    os.mkdir("tls")
    certificate("ca", "ca", "cert_signing_key")
    certificate("server", "tls_www_server", "signing_key", 'dns_name = "localhost"')
    certificate("client", "tls_www_client", "signing_key")
    server_object = f"tls-creds-x509,id=t,endpoint=server,dir={os.getcwd()}/tls"
    with Server(program, "-t", "-e", 0, "-r", "--object", server_object, "--tls-creds=t", "-f", "raw", "a.raw") as server:
        client_object = f"tls-creds-x509,id=t,endpoint=client,dir={os.getcwd()}/tls,verify-peer=on"
        image = f"driver=nbd,server.type=unix,server.path={server.path},tls-creds=t,tls-hostname=localhost"
        run("qemu-img", "convert", "--object", client_object, "--image-opts", "-O", "raw", image, "copy.raw")
        run("cmp", "copy.raw", "a.raw")
        run("nbdinfo", server.uri(), status=1)  # in the clear
        client = Client(server.path).begin()
        client.option(LIST)
        expect_equal("LIST without TLS", client.replies()[-1][1], (1 << 31) + 5)
        client.option(STARTTLS)
        expect_equal("STARTTLS", client.replies()[-1][1], 1)
        client.send(b"\x16\x03\x01 this is no TLS" * 100)
        expect(client.ended(), "a client that does not speak TLS stays")
        client = Client(server.path).begin()
        client.option(STARTTLS)
        client.option(LIST)  # in the clear, behind STARTTLS: nothing of it may be answered
        expect(client.ended(), "a client that goes on in the clear stays")
        expect(server.alive(), "doppel-nbd has ended")
    os.mkdir("psk")
    run("psktool", "-u", "alice", "-p", "psk/keys.psk")
    with Server(program, "-t", "-r", "--object", f"tls-creds-psk,id=p,endpoint=server,dir={os.getcwd()}/psk",
                "--tls-creds=p", "-f", "raw", "a.raw") as server:
        uri = f"nbds+unix://alice@/?socket={server.path}&tls-psk-file={os.getcwd()}/psk/keys.psk"
        run("nbdinfo", uri)
        run("nbdcopy", uri, "copy.raw")
        run("cmp", "copy.raw", "a.raw")


def refusals(path):
    """The negotiation's errors, and that it goes on behind them."""
    invalid, unsupported, policy, unknown, too_big = ((1 << 31) + code for code in (3, 1, 2, 6, 9))
    client = Client(path).begin()
    for option, data, error in ((LIST, b"x", invalid), (77, b"data", unsupported), (STARTTLS, b"", policy),
                                (INFO, b"", invalid), (INFO, b"\0\0\0\5two", invalid), (GO, b"\0\0\0\4none\0\0", unknown),
                                (INFO, b"\xff\xff\xff\xff\0\0", invalid), (GO, b"\0\0\0\0\0\1", invalid),
                                (STRUCTURED, b"x", invalid), (SET_CONTEXT, b"\0\0\0\0\0\0\0\0", invalid),
                                (LIST_CONTEXT, b"\0\0\0\0\xff\xff\xff\xff", invalid), (INFO, b"x" * 40000, too_big)):
        client.option(option, data)
        expect_equal(f"error of option {option} with {data[:20]}", client.replies()[-1][1], error)
    client.option(ABORT)
    expect_equal("ABORT", client.replies()[-1][1], 1)
    expect(client.ended(), "the connection stays behind ABORT")


def wrong_requests(path, size):
    """Errors of single requests; the connection goes on."""
    client = Client(path).begin().go()
    for command, offset, length, flags, error in (
            (READ, size, 1, 0, 22), (READ, (1 << 64) - 1, 2, 0, 22), (WRITE, size - 1, 2, 0, 28), (ZEROES, size, 1, 0, 28),
            (TRIM, size, 1, 0, 22), (READ, 0, 33 * MIB, 0, 22), (READ, 0, 512, 1 << 9, 22), (READ, 0, 512, 4, 22), (ZEROES, 0, 512, 16, 22),
            (99, 0, 0, 0, 22), (STATUS, 0, 512, 0, 22), (CACHE, 1, size, 0, 22), (FLUSH, 0, 0, 0, 0), (READ, 0, 0, 0, 0),
            (WRITE, size, 0, 0, 0)):
        client.request(command, offset, length, flags, cookie=77, payload=b"x" * length if command == WRITE else b"")
        expect_equal(f"reply to command {command} at {offset} of {length}", client.simple(), (error, 77))
    client.request(READ, 0, 16, cookie=5)
    expect_equal("reply", client.simple(), (0, 5))
    client.receive(16)
    client.request(DISCONNECT)
    expect(client.ended(), "the connection stays behind DISC")


def hostile(program):
    run("qemu-img", "create", "-q", "-f", "raw", "h.raw", "64M")
    with Server(program, "-t", "-e", 0, "-f", "raw", "h.raw") as server:
        refusals(server.path)
        wrong_requests(server.path, 64 * MIB)
        for bad in (lambda c: c.begin(0xFFFFFFFF), lambda c: c.begin().send(b"G" * 16), lambda c: c.begin().option(LIST, b"", 0xFFFFFFFF),
                    lambda c: c.begin().option(EXPORT_NAME, b"none"), lambda c: c.begin().go().send(b"x" * 28),
                    lambda c: c.begin().go().request(WRITE, 0, 0xFFFFFFFF)):
            client = Client(server.path)
            bad(client)
            expect(client.ended(), "a client that breaks the protocol stays")
        # Half requests, and leaving in the middle of everything.
        chance = random.Random(3)
        for _ in range(200):
            client = Client(server.path)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.begin().go(structured=chance.random() < 0.5)
                for _ in range(chance.randrange(20)):
                    command = chance.choice([READ, WRITE, FLUSH, TRIM, ZEROES, CACHE])
                    length = chance.choice([1, 4096, 300_000])
                    client.request(command, chance.randrange(60 * MIB), length, payload=b"y" * length if command == WRITE else b"")
                client.request(WRITE, 0, 5 * MIB, payload=b"z" * chance.randrange(1000))
            client.close()
        # Clients that ask for everything and read nothing.
        greedy = [Client(server.path).begin().go() for _ in range(8)]
        for client in greedy:
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for cookie in range(100_000):
                    client.request(READ, 0, 32 * MIB, cookie=cookie)
        time.sleep(1)
        run("nbdinfo", server.uri())  # others are still served
        expect(server.resident() < 600 * MIB, f"{server.resident()} bytes for eight clients")
        for client in greedy:
            client.close()
        # More clients than there is room for wait; when others leave they are served.
        crowd = []
        for _ in range(128):
            crowd.append(Client(server.path).begin())
        late = socket.socket(socket.AF_UNIX)
        late.connect(server.path)
        for client in crowd:
            client.close()
        late.settimeout(20)
        expect_equal("greeting of the one who waited", len(late.recv(18)), 18)
        late.close()
        run("nbdcopy", "a.raw", server.uri())
        run("cmp", "a.raw", "h.raw")
    # Who says nothing is dropped, and does not keep a server for one client from the next.
    with Server(program, "-r", "-f", "raw", "h.raw") as server:
        silent = Client(server.path)
        begin = time.monotonic()
        expect(silent.ended(), "a silent client stays")
        expect(5 < time.monotonic() - begin < 15, "a silent client has ten seconds")
        expect(server.alive(), "doppel-nbd leaves with a client that never chose an export")
        run("nbdinfo", "--size", server.uri())
        server.wait()


def late_signals(program):
    """A server that leaves on its own, and well, is told to leave all the while."""
    for _ in range(40):
        with Server(program, "-f", "qcow2", "w.qcow2") as server:
            Client(server.path).begin().go().close()
            tell_to_end(server.process)
            server.wait()


def mistakes(program):
    """Every wrong command line is one sentence and status 1."""
    for words, part in ((["a.raw", "-p", "0"], "--port expects a number from 1 to 65535"), ([], "an image file name is missing"),
                        (["-k", "x", "missing"], "cannot open 'missing'"), (["-x", "a", "a.raw", "--export", "name=a,file=a.raw"], "two exports have the name 'a'"),
                        (["--export", "nam=a"], "did you mean 'name'"), (["--tls-creds=q", "a.raw"], "no --object with that id"),
                        (["-c", "/dev/no-nbd", "a.raw"], "'modprobe nbd' loads"), (["-c", "/dev/no-nbd", "-k", "x", "a.raw"], "--connect excludes --socket"),
                        (["-d", "/dev/no-nbd"], "there is no '/dev/no-nbd'"), (["--image-opts", "driver=rwa,file.filename=a.raw"], "did you mean 'raw'"), (["-B", "b", "a.qcow2"], "there is no bitmap 'b'"), (["-B", "b", "a.raw"], "has no bitmaps"), (["-L"], "nbdinfo --list"), (["-e", "x", "a.raw"], "--shared expects"),
                        (["--cache=fast", "a.raw"], "no cache mode"), (["-k", "no/such/place", "a.raw"], "cannot listen on"),
                        (["-k", "q", "--object", "tls-creds-x509,id=t,endpoint=server,dir=/none", "--tls-creds=t", "a.raw"], "cannot load '/none"),
                        (["-o", "1M", "-f", "qcow2", "a.qcow2"], "--offset needs --format raw"), (["a", "b"], "expecting one image file name"),
                        (["-k", "q", "-l", "then", "-f", "raw", "a.raw"], "has no snapshots"), (["--fork", "-k", "q", "missing"], "cannot open 'missing'")):
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=TIME_LIMIT)
        expect(done.returncode == 1 and part in done.stderr.splitlines()[0], f"{words}: {done.returncode} {done.stderr!r}")


def main():
    program, image_program = (os.path.abspath(path) for path in sys.argv[1:3])
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="doppel-nbd-", dir=".") as directory:
        os.chdir(directory)
        make_images()
        for part in (lambda: reading(program), lambda: writing(program, image_program), lambda: snapshots(program),
                     lambda: node_options(program, image_program), lambda: kernel_device(program), lambda: over_tcp(program),
                     lambda: encrypted(program), lambda: hostile(program),
                     lambda: late_signals(program), lambda: mistakes(program)):
            part()
        os.chdir("..")
    print("doppel-nbd: clients and enemies are served as they should be")


main()
