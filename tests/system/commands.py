"""Commands that tests run to their end, and machines that they wait for."""
import re
import signal
import subprocess
import time

TIME_LIMIT = 60
ACCEPTS = 0x10000  # the kernel's __SO_ACCEPTCON


def run_to_end(*command, status=0, stdin=None):
    """The completed process, with its output as text; the exit status must be as expected."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=TIME_LIMIT, input=stdin)
    if done.returncode != status:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}, expected {status}\n{done.stdout}{done.stderr}")
    return done


def tell_to_end(process):
    """Sends SIGTERM until PROCESS is gone, or TIME_LIMIT is over. Not without a break: that would leave it no time to go."""
    deadline = time.monotonic() + TIME_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.0002)


def wait_until_listening(path):
    """Until somebody listens at the Unix socket PATH, an absolute one: a moment after its name is there."""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
            rows = [line.split() for line in sockets]
        if any(row[-1] == path and int(row[3], 16) & ACCEPTS for row in rows[1:]):
            return
        time.sleep(0.01)
    raise AssertionError(f"nobody listens at {path}")


def wait_until_built(process):
    """The machine of PROCESS is built once it catches SIGTERM. False if it ended instead, or took too long."""
    deadline = time.monotonic() + TIME_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            if int(re.search(r"SigCgt:\s*(\w+)", status.read())[1], 16) >> (signal.SIGTERM - 1) & 1:
                return True
        time.sleep(0.01)
    return False
