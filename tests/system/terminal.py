"""A machine with somebody at its serial port, for tests that talk to a guest."""
import os
import re
import select
import subprocess
import time

SECONDS = int(os.environ.get("DOPPEL_TEST_SECONDS", "120"))
QUIET = ["-display", "none", "-monitor", "none", "-nic", "none", "-serial", "stdio", "-no-reboot"]
PROMPT = "doppel:~# "


def plain(text):
    """TEXT without the terminal's control sequences."""
    return re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]", "", text).replace("\r", "")


class Terminal:
    """PROGRAM with ARGUMENTS, killed when left. What it prints, on standard error too, is in TEXT."""

    def __init__(self, program, arguments, accel=("-accel", "soft"), memory="256"):
        self.process = subprocess.Popen([program, *accel, "-m", memory, *QUIET, *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.text = ""
        self.read = 0
        self.deadline = time.monotonic() + SECONDS

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()

    def more(self, seconds=None):
        """Takes what comes next; false at the end. Nothing within SECONDS is a failure, or false if SECONDS are given."""
        left = max(0, self.deadline - time.monotonic())
        if not select.select([self.process.stdout], [], [], left if seconds is None else min(left, seconds))[0]:
            if seconds is not None:
                return False
            raise AssertionError(f"nothing more within {SECONDS} s:\n{self.text[-3000:]}")
        data = os.read(self.process.stdout.fileno(), 65536)
        self.text += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, words):
        """What came before WORDS, since the last time."""
        while (at := self.text.find(words, self.read)) < 0:
            if not self.more():
                raise AssertionError(f"it ended before '{words}' came:\n{self.text[-3000:]}")
        before = self.text[self.read:at]
        self.read = at + len(words)
        return before

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def type(self, line):
        self.send(line + "\n")

    def log_in(self):
        self.wait_for("doppel login: ")
        self.type("root")
        self.wait_for("# ")
        self.type("PS1='doppel:~''# '")
        self.wait_for(PROMPT)

    def run(self, command):
        """What COMMAND prints in the guest; its failure is one of the test."""
        self.type(f"{command} && echo 'well ''done' || echo 'went ''wrong'")
        text = self.wait_for(PROMPT)
        if "well done" not in text:
            raise AssertionError(f"in the guest: {text}")
        lines = text.replace("\r", "").split("\n")
        return "\n".join(line for line in lines[1:] if line != "well done").strip()

    def power_off(self):
        self.type("umount -a -r; poweroff -f")
        while self.more():
            pass
        return self.process.wait()
