#!/usr/bin/env python3
"""vga_test.py PROGRAM GUESTS [CASE...]: the VGA's text, by -display curses, on the software accelerator.

SeaBIOS and GRUB must show themselves on it, and an installed Linux its login prompt; keys typed on the terminal reach
all three. The terminal is as before in the end. GUESTS is where scripts/fetch-guest leaves Debian's kernel and busybox.
Exit status 77, with the reason, where something is missing."""
import os
import signal
import subprocess
import sys
import tempfile
import unittest

import disk_image
import vga_screen
from vga_screen import VgaScreen

PROGRAM, GUESTS = sys.argv[1:3]
WORK = None  # a directory with disk.img
UP, DOWN = "\x1b[A", "\x1b[B"

GRUB_CONFIG = """set timeout=-1
menuentry "nothing" {{
  true
}}
menuentry "the test system" {{
  linux /boot/vmlinuz root={root} console=tty0 panic=-1 quiet
  initrd /boot/initrd.gz
}}
"""


def screen(arguments):
    return VgaScreen(PROGRAM, arguments)


class Vga(unittest.TestCase):
    def test_seabios_and_the_terminal_afterwards(self):
        for end in ("SIGTERM", "Ctrl-A x", "hang-up"):
            with self.subTest(end), screen(["-fda", "", "-boot", "n"]) as machine:
                machine.wait_for("SeaBIOS (version")
                machine.wait_for("No bootable device")
                self.assertFalse(machine.terminal_is_restored())
                if end == "SIGTERM":
                    os.kill(machine.pid, signal.SIGTERM)
                elif end == "Ctrl-A x":
                    machine.send("\x01x")
                else:
                    os.kill(machine.pid, signal.SIGHUP)
                self.assertEqual(machine.wait(), 0)
                self.assertTrue(machine.terminal_is_restored())

    def test_small_terminals_and_stops(self):
        with screen(["-fda", "", "-boot", "n"]) as machine:
            machine.wait_for("No bootable device")
            machine.resize(5)  # its cursor is in the sixth row or below
            machine.wait_until(lambda: any("No bootable device" in line for line in machine.lines)
                               and not any("SeaBIOS" in line for line in machine.lines), "the rows around the cursor")
            machine.resize(vga_screen.ROWS)
            machine.wait_for("SeaBIOS (version")
            for moment in range(100):  # of drawing, or between frames
                machine.take(moment % 10 / 100)
                machine.stop()
                self.assertTrue(machine.terminal_is_restored())
                os.kill(machine.pid, signal.SIGCONT)
                machine.wait_until(lambda: not machine.terminal_is_restored(), "the screen once more")

    def test_linux_is_logged_in_to(self):
        with screen(["-hda", os.path.join(WORK, "disk.img")]) as machine:
            machine.wait_for(" the test system")
            self.assertTrue(any("─" * 20 in line for line in machine.lines), machine.text())
            machine.send(DOWN)
            machine.wait_for("*the test system")
            machine.send("\r")
            machine.wait_for("doppel login:")
            machine.send("root\r")
            machine.wait_until(lambda: any(line.endswith(" #") for line in machine.lines), "the prompt")
            machine.send("echo \"$((6 * 7)) is < 'The' {Answer} | ~!@%^&_+\" `:;?,.=-`\r")
            machine.wait_for("42 is < 'The' {Answer} | ~!@%^&_+")
            machine.send("clear; cat /sys/class/tty/tty0/active\r")
            machine.wait_until(lambda: machine.lines[0].startswith("tty1"), "the answer in the first row")
            machine.send("clear; echo -e '\\033[1;33;44mbright\\033[0m'\r")
            machine.wait_until(lambda: machine.lines[0].startswith("bright"), "a coloured word")
            cell = machine.screen.buffer[0][0]
            self.assertEqual((cell.fg, cell.bg, cell.bold), ("brown", "blue", True))
            machine.send("echo again-$((1 + 1))\r")
            machine.wait_for("again-2")
            machine.send("clear\r" + UP + UP + "\r")  # the shell's history
            machine.wait_until(lambda: any(line == "again-2" for line in machine.lines[:5]), "the command once more")
            machine.send("clear; echo started; sleep 1000\r")
            machine.wait_until(lambda: machine.lines[0] == "started", "a command that does not end")
            machine.send("\x03")  # Ctrl-C
            machine.wait_until(lambda: any(line.endswith(" #") for line in machine.lines), "the prompt")
            machine.send("echo stopped-$?\r")
            machine.wait_for("stopped-130")
            machine.send("umount -a -r; poweroff -f\r")
            self.assertEqual(machine.wait(), 0)
            self.assertTrue(machine.terminal_is_restored())

    def test_without_a_terminal(self):
        for arguments, sentence in (
                (["-display", "curses"], "standard input and output are no terminal"),
                (["-curses", "-serial", "stdio"], "both want the terminal"),
                (["-nographic", "-curses"], "both want the terminal"),
                (["-curses", "-vga", "none"], "write '-vga std'"),
                (["-vga", "cirrus"], "write '-vga std' or '-vga none'")):
            done = subprocess.run([PROGRAM, "-accel", "soft", *arguments], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertEqual(done.stdout, b"", arguments)
            message = done.stderr.decode().strip()
            self.assertIn(sentence, message)
            self.assertEqual(message.count("\n"), 0, message)


def main():
    global WORK
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if vga_screen.pyte is None:
        print("skipped: there is no pyte; install python3-pyte")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="doppel-vga-test-", dir=".") as WORK:
        try:
            guest = disk_image.Guest(GUESTS)
            guest.grub_config = GRUB_CONFIG
            guest.init = disk_image.INIT.replace("getty -L 115200 ttyS0 vt100", "getty 38400 tty1 linux")
            with tempfile.TemporaryDirectory() as scratch:
                disk_image.make_disk(guest, scratch, os.path.join(WORK, "disk.img"))
        except disk_image.Missing as missing:
            print(f"skipped: {missing}; scripts/fetch-guest gets the guest")
            sys.exit(77)
        done = unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
