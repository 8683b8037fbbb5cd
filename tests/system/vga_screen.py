"""A machine with `-display curses` on a terminal of the test's own, whose screen is put together by pyte."""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

try:
    import pyte
except ImportError:  # Debian's package is Debian's Python's; it runs under any
    sys.path.append("/usr/lib/python3/dist-packages")
    try:
        import pyte
    except ImportError:
        pyte = None

SECONDS = int(os.environ.get("DOPPEL_TEST_SECONDS", "300"))
ROWS, COLUMNS = 26, 90  # a little more than the guest has
QUIET = ["-display", "curses", "-monitor", "none", "-nic", "none", "-no-reboot"]


class VgaScreen:
    """PROGRAM with ARGUMENTS, killed when left. `lines` is what the user sees."""

    def __init__(self, program, arguments, accel=("-accel", "soft"), memory="256"):
        self.terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.attributes = termios.tcgetattr(inside)
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.deadline = time.monotonic() + SECONDS
        self.status = None
        self.inside = inside  # kept open: its attributes are looked at in the end
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                fcntl.ioctl(inside, termios.TIOCSCTTY, 0)
                for number in (0, 1, 2):
                    os.dup2(inside, number)
                os.closerange(3, 256)
                os.environ.update(TERM="linux", LC_ALL="C.UTF-8")
                os.execv(program, [program, *accel, "-m", memory, *QUIET, *arguments])
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)
        os.close(self.inside)

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def text(self):
        return "\n".join(self.lines)

    def take(self, seconds):
        """Takes what is drawn within SECONDS; false if nothing is."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return False
        self.stream.feed(os.read(self.terminal, 65536))
        return True

    def wait_until(self, holds, what):
        """Takes what is drawn until HOLDS() is true of it."""
        while not holds():
            if time.monotonic() > self.deadline or self.has_ended():
                raise AssertionError(f"{what} never came; on the screen:\n{self.text()}")
            self.take(0.2)

    def wait_for(self, words):
        self.wait_until(lambda: any(words in line for line in self.lines), f"'{words}'")

    def send(self, keys):
        os.write(self.terminal, keys.encode())

    def resize(self, rows):
        self.screen.resize(rows, COLUMNS)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, COLUMNS, 0, 0))

    def has_ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self):
        """The exit status, once it has ended and all that it has drawn is taken."""
        while not self.has_ended():
            if time.monotonic() > self.deadline:
                raise AssertionError(f"it does not end; on the screen:\n{self.text()}")
            self.take(0.2)
        while self.take(0):
            pass
        return self.status

    def stop(self):
        """As a shell's job control does."""
        os.kill(self.pid, signal.SIGTSTP)
        while os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG) == (0, 0):
            if time.monotonic() > self.deadline:
                raise AssertionError("it does not stop")
            self.take(0.01)

    def terminal_is_restored(self):
        return termios.tcgetattr(self.inside) == self.attributes
