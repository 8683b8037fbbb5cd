#!/usr/bin/env python3
"""Wrong command lines and images: each must end with status 1 and one clear sentence on standard error.

usage: bad_input_test.py [--table] PROGRAM [WORD]     exit status 77: skipped, no KVM
  --table  print the cases and what the program says as a Markdown table
  WORD     run only the cases whose title has this word
"""
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

TIME_LIMIT = 10
# Without a default console, and paused: a case that is wrongly accepted must not run wild.
COMMON = ["-display", "none", "-S"]


def bzimage():
    """The smallest Linux image that looks whole: two sectors of setup, a page of kernel."""
    image = bytearray(1024 + 4096)
    image[0x1F1] = 1
    struct.pack_into("<H", image, 0x1FE, 0xAA55)
    struct.pack_into("<H", image, 0x200, 0x66EB)
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, 0x020F)
    image[0x211] = 1
    struct.pack_into("<I", image, 0x214, 0x100000)
    struct.pack_into("<I", image, 0x22C, 0x7FFFFFFF)
    struct.pack_into("<I", image, 0x230, 0x200000)
    struct.pack_into("<I", image, 0x238, 2047)
    struct.pack_into("<I", image, 0x1F4, 4096 // 16)
    return bytes(image)


class Fixture:
    """The files, sockets and locks that the cases refer to as {name}."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="doppel-bad-input-")
        self.names = {"dir": self.directory, "missing": self.path("missing"), "deep": self.path("missing/file")}
        self.file("empty", b"")
        self.file("text", b"hello, world\n")
        self.file("kernel", bzimage())
        self.file("disk", b"", 1 << 20)
        self.file("disk2", b"", 1 << 20)
        # As QEMU locks an image: "nobody else may write".
        self.file("locked_disk", b"", 1 << 20)
        self.image_lock = open(self.names["locked_disk"], "rb")
        fcntl.fcntl(self.image_lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 201, 1, 0))
        self.file("truncated", bzimage()[:700])
        self.file("elf", b"\x7fELF" + bytes(range(256)) * 4)
        self.file("odd_bios", b"\x90" * 1000)
        self.file("huge_bios", b"", 32 << 20)
        self.file("huge_initrd", b"", 100 << 20)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.names["port"] = str(self.listener.getsockname()[1])
        self.file("locked", b"12345\n")
        self.lock = open(self.names["locked"], "r+")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def path(self, name):
        return os.path.join(self.directory, name)

    def file(self, name, contents, size=None):
        with open(self.path(name), "wb") as out:
            out.write(contents)
            if size is not None:
                out.truncate(size)
        self.names[name] = self.path(name)

    def close(self):
        self.listener.close()
        self.lock.close()
        self.image_lock.close()
        shutil.rmtree(self.directory)


# (title, command line with {fixture} names, what the sentence must contain)
CASES = [
    # The command line as such
    ("unknown option", "-kernal x", "did you mean '-kernel'?"),
    ("option=value", "-smp=4", "write '-smp 4'"),
    ("missing value", "-m", "-m needs a value"),
    ("unknown key", "-smp 2,core=2", "did you mean 'cores'?"),
    ("nothing between commas", "-rtc ,base=utc", "write ',,' for a comma"),
    ("JSON where none is taken", "-chardev {{\"id\":\"a\"}}", "not JSON"),
    ("broken JSON", "-device {{\"driver\":", "it ends too early"),
    # Kernel
    ("missing kernel", "-kernel {missing}", "-kernel: cannot open '{missing}': No such file or directory"),
    ("directory as kernel", "-kernel {dir}", "'{dir}' is not a regular file"),
    ("empty kernel", "-kernel {empty}", "'{empty}'"),
    ("text as kernel", "-kernel {text}", "neither Linux bzImage nor multiboot nor ELF"),
    ("truncated bzImage", "-kernel {truncated}", "'{truncated}'"),
    ("garbage ELF", "-kernel {elf}", "'{elf}'"),
    ("device as kernel", "-kernel /dev/null", "'/dev/null' is not a regular file"),
    ("garbage ELF without firmware", "-M microvm -kernel {elf}", "'{elf}'"),
    ("initrd without kernel", "-initrd {text}", "together with -kernel"),
    ("append without kernel", "-append quiet", "together with -kernel"),
    ("missing initrd", "-kernel {kernel} -initrd {missing}", "-initrd: cannot open '{missing}'"),
    ("initrd too large for memory", "-m 64 -kernel {kernel} -initrd {huge_initrd}", "raise -m"),
    # Memory
    ("no memory", "-m 0", "2 MiB"),
    ("next to no memory", "-m 1", "write 512M or 1G"),
    ("memory in words", "-m abc", "-m abc: 'abc' is not a size"),
    ("negative memory", "-m -1", "'-1' is not a size"),
    ("too much memory", "-m 8192P", "at most"),
    ("odd memory", "-m 3000001B", "multiple of 4 KiB"),
    ("slots without maxmem", "-m 1G,slots=2", "maxmem="),
    ("maxmem without slots", "-m 1G,maxmem=2G", "slots="),
    ("maxmem below size", "-m 2G,slots=1,maxmem=1G", "less than the memory"),
    ("mem-path in a missing directory", "-mem-path {deep}", "{deep}"),
    ("mem-path that is no memory", "-mem-path /dev/null", "/dev/null"),
    ("huge pages that are not there", "-object memory-backend-memfd,id=a,size=1T,hugetlb=on,prealloc=on -machine memory-backend=a -m 1T",
     "huge"),
    ("huge page size that is not there", "-object memory-backend-memfd,id=a,size=64M,hugetlb=on,hugetlbsize=3M -machine memory-backend=a -m 64", "huge"),
    ("unknown memory backend", "-machine memory-backend=mem0", "-object memory-backend-ram,id=mem0"),
    ("backend of another size", "-object memory-backend-ram,id=a,size=64M -machine memory-backend=a -m 32", "-m says 32 MiB"),
    ("backend without a size", "-object memory-backend-ram,id=a", "size="),
    ("unknown object", "-object memory-backend-rma,id=a", "did you mean 'memory-backend-ram'?"),
    ("duplicate object", "-object memory-backend-ram,id=a,size=1M -object memory-backend-ram,id=a,size=1M", "'a' is taken"),
    ("object of another type with that id", "-object iothread,id=a -object secret,id=a,data=x", "'a' is taken by another object"),
    ("unknown iothread", "-object iothread,id=io0 -drive if=none,id=d,file={disk},format=raw -device virtio-blk-pci,drive=d,iothread=io1",
     "there is no iothread 'io1' (did you mean 'io0'?)"),
    ("iothread that is a secret", "-object secret,id=s,data=x -device virtio-scsi-pci,iothread=s", "'s' is a secret, not an iothread"),
    ("polling iothread", "-object iothread,id=io0,poll-max-ns=32768", "the thread sleeps when there is no work"),
    ("iothread of a device that takes none", "-object iothread,id=io0 -drive if=none,id=d,file={disk},format=raw -device ide-hd,drive=d,iothread=io0",
     "there is no property 'iothread'"),
    ("one node in two threads", "-object iothread,id=io0 -blockdev driver=file,filename={disk},node-name=n,read-only=on"
     " -device virtio-blk-pci,drive=n,iothread=io0 -device virtio-blk-pci,drive=n", "in iothread 'io0' and in the main thread"),
    ("one throttle group in two threads", "-object iothread,id=io0 -drive if=none,id=d,file={disk},format=raw,throttling.iops-total=9,throttling.group=g"
     " -drive if=none,id=e,file={disk2},format=raw,throttling.group=g,throttling.iops-total=9 -device virtio-blk-pci,drive=d,iothread=io0"
     " -device virtio-blk-pci,drive=e", "share a node or a throttle group"),
    # NUMA
    ("node without memory sum", "-m 64 -numa node,mem=32M", "-m says 64 MiB"),
    ("gap in the nodes", "-numa node,nodeid=0 -numa node,nodeid=2", "node 1 is missing"),
    ("node given twice", "-numa node,nodeid=0 -numa node,nodeid=0", "node 0 is given twice"),
    ("CPU in two nodes", "-smp 2 -numa node,cpus=0-1 -numa node,cpus=1", "CPU 1 is in two nodes"),
    ("CPU that is not there", "-smp 2 -numa node,cpus=0-7", "there are only CPUs 0 to 1"),
    ("node of an unknown backend", "-numa node,memdev=mem0", "no memory backend 'mem0'"),
    ("memory in two ways", "-numa node,mem=1G,memdev=a", "exclude each other"),
    ("distance from itself", "-numa node -numa dist,src=0,dst=0,val=20", "10 from itself"),
    ("distance to nowhere", "-numa node -numa dist,src=0,dst=3,val=20", "no node 3"),
    # Processors
    ("no CPU", "-smp 0", "at least 1"),
    ("topology that does not fit", "-smp 4,cores=3", "maxcpus"),
    ("too many CPUs", "-smp 99999", "more than the"),
    ("more CPUs than maxcpus", "-smp 4,maxcpus=2", "maxcpus=2"),
    ("unknown CPU model", "-cpu Hasswell", "did you mean 'Haswell'?"),
    ("unknown CPU feature", "-cpu host,+aavx", "did you mean 'avx'?"),
    ("bad CPU property", "-cpu host,phys-bits=99", "phys-bits"),
    # Machine and accelerator
    ("unknown machine", "-machine pcc", "did you mean 'pc'?"),
    ("machine that is not there yet", "-machine q35", "write '-machine pc'"),
    ("unknown machine property", "-machine pc,hpte=on", "did you mean 'hpet'?"),
    ("bad machine property", "-machine pc,hpet=perhaps", "'on' or 'off'"),
    ("bad irqchip", "-machine kernel_irqchip=maybe", "on, split or off"),
    ("unknown accelerator", "-accel kvn", "did you mean 'kvm'?"),
    ("list after -accel", "-accel kvm:tcg", "-machine accel=kvm:tcg"),
    ("chips that soft does not have", "-accel soft -machine kernel_irqchip=split", "write kernel-irqchip=off"),
    ("bad switch of soft", "-accel soft,one-insn-per-tb=1", "one-insn-per-tb= expects on or off"),
    ("accelerator of another host", "-accel hvf", "write '-accel kvm'"),
    ("two ways to say the accelerator", "-accel kvm -machine accel=kvm", "exclude each other"),
    # Firmware
    ("missing BIOS", "-bios {missing}", "-bios: there is no firmware file '{missing}'"),
    ("BIOS not on the search path", "-L {dir} -bios nosuch.bin", "{dir}"),
    ("BIOS of an odd size", "-bios {odd_bios}", "multiple of 64 KiB"),
    ("BIOS too large", "-bios {huge_bios}", "too large"),
    ("empty BIOS", "-bios {empty}", "64 KiB"),
    ("fw_cfg without contents", "-fw_cfg opt/a", "file=PATH or string=TEXT"),
    ("fw_cfg of a missing file", "-fw_cfg opt/a,file={missing}", "{missing}"),
    ("fw_cfg file twice", "-fw_cfg opt/a,string=1 -fw_cfg opt/a,string=2", "opt/a"),
    ("SMBIOS type that is not there", "-smbios type=99,serial=1", "99"),
    ("SMBIOS field that is not there", "-smbios type=1,serail=1", "did you mean 'serial'?"),
    ("SMBIOS garbage", "-smbios nonsense", "type=N or file=PATH"),
    ("ACPI table of a missing file", "-acpitable file={missing}", "{missing}"),
    ("ACPI table of garbage", "-acpitable file={text}", "ACPI"),
    ("bad UUID", "-uuid 1234", "550e8400-e29b-41d4-a716-446655440000"),
    ("bad clock", "-rtc base=noon", "utc, localtime, or a date"),
    ("bad boot letter", "-boot z", "a (floppy), c (disk), d (CD-ROM) and n (network)"),
    ("boot letter twice", "-boot cc", "given twice"),
    # Devices
    ("unknown device", "-device pvpanik", "did you mean 'pvpanic'?"),
    ("unknown property", "-device pvpanic,iport=1", "did you mean 'ioport'?"),
    ("bad property", "-device pci-bridge,chassis_nr=300", "a number up to 255"),
    ("port that is no port", "-device isa-debug-exit,iobase=70000", "do not fit below 0x10000"),
    ("port of another device", "-device isa-debug-exit,iobase=0x3f8", "overlap those of"),
    ("slot of another device", "-device pci-bridge,addr=1", "'PIIX3' is there"),
    ("bus that is not there", "-device pci-bridge,bus=pci.7", "pci.7"),
    ("slot that is no slot", "-device pci-bridge,addr=99", "99"),
    ("PCI device without PCI", "-M microvm -device pci-bridge -kernel {kernel}", "pci-bridge"),
    ("duplicate device id", "-device pvpanic,id=a -device pci-bridge,id=a", "'a' is taken"),
    ("unknown global driver", "-global pci-brige.msi=off", "did you mean 'pci-bridge'?"),
    ("unknown global property", "-global PIIX4_PM.disable_s5=1", "did you mean 'disable_s3'?"),
    ("network", "-netdev user,id=n", "-nic none"),
    # Disks
    ("missing disk", "-hda {missing}", "'doppel-img create FILE SIZE' makes one"),
    ("missing disk without an option", "{missing}", "cannot open '{missing}': No such file or directory"),
    ("missing CD-ROM", "-cdrom {missing}", "cannot open '{missing}'"),
    ("directory as disk", "-hda {dir}", "'{dir}'"),
    ("empty disk", "-drive file={empty},format=raw", "is empty; give it a size"),
    ("device as disk", "-hda /dev/null", "'/dev/null'"),
    ("two disks in one place", "-hda {disk} -drive file={disk2},index=0", "give one of the two another index="),
    ("CD-ROM where a disk is", "-hdc {disk} -cdrom {disk2}", "give one of the two another index="),
    ("one file twice", "-hda {disk} -hdb {disk}", "have the same image, '{disk}'"),
    ("locked disk", "-hda {locked_disk}", "'{locked_disk}' is locked"),
    ("fifth drive", "-hda {disk} -hdb {disk} -hdc {disk} -hdd {disk} -drive file={disk}", "four drives already"),
    ("index too large", "-drive file={disk},index=4", "the places 0 to 3"),
    ("index and bus", "-drive file={disk},index=1,bus=0", "write one or the other"),
    ("unknown key of a drive", "-drive file={disk},cahce=none", "did you mean 'cache'?"),
    ("unknown interface", "-drive file={disk},if=scsi", "write if=ide"),
    ("unknown cache mode", "-drive file={disk},cache=writeback2", "did you mean 'writeback'?"),
    ("unknown format", "-drive file={disk},format=rwa", "did you mean 'raw'?"),
    ("unknown media", "-drive file={disk},media=dvd", "media= expects disk or cdrom"),
    ("disk without a file", "-drive media=disk", "write file=FILE"),
    ("unknown write error action", "-drive file={disk},werror=halt", "report, ignore, stop or enospc"),
    ("third flash chip", "-pflash {disk} -pflash {disk2} -pflash {disk}", "the PC has two flash chips"),
    ("variables without firmware", "-drive if=pflash,unit=1,file={disk}", "pflash1 without pflash0"),
    ("firmware twice", "-pflash {disk} -bios {disk}", "-bios and pflash0"),
    ("flash chip on a microvm", "-M microvm -pflash {disk}", "a microvm has no flash chips"),
    ("unknown flash drive", "-machine pc,pflash0=code", "there is no drive 'code'"),
    ("missing flash image", "-pflash {missing}", "{missing}"),
    ("floppy twice", "-fda {disk} -drive if=floppy,index=0,file={disk2}", "has an image already"),
    ("floppy on a microvm", "-M microvm -fda {disk}", "use -machine pc"),
    ("flash for Linux's MTD", "-mtdblock {disk}", "no bare flash memory"),
    ("SD card", "-sd {disk}", "no SD card reader"),
    ("drive without an id", "-drive file={disk},if=none", "id= is needed"),
    ("duplicate drive", "-drive file={disk},if=none,id=a -drive file={disk2},if=none,id=a", "'a' is taken"),
    ("unknown drive", "-drive file={disk},if=none,id=disk0 -device ide-hd,drive=disk1", "did you mean 'disk0'?"),
    ("drive in two devices", "-drive file={disk},if=none,id=a -device ide-hd,drive=a -device ide-hd,drive=a",
     "is in another device already"),
    ("disk device without a drive", "-device ide-hd", "write drive=ID"),
    ("unknown IDE bus", "-device ide-cd,bus=ide.2", "write bus=ide.0 or bus=ide.1"),
    ("unknown IDE unit", "-device ide-cd,unit=2", "unit=0 for the master"),
    ("two devices in one place", "-device ide-cd,bus=ide.0,unit=0 -device ide-cd,bus=ide.0,unit=0",
     "ide.0, unit 0 has a drive already"),
    ("boot index twice", "-device ide-cd,bootindex=1 -device ide-cd,bootindex=1", "bootindex=1 is taken"),
    ("disk on a microvm", "-M microvm -hda {disk}", "use -machine pc"),
    # Consoles
    ("unknown chardev backend", "-chardev stdoi,id=a", "did you mean 'stdio'?"),
    ("chardev without an id", "-chardev null", "id= is missing"),
    ("duplicate chardev", "-chardev null,id=a -chardev null,id=a", "'a' is taken"),
    ("socket to nowhere", "-chardev socket,id=a", "'path', 'host' with 'port', and 'fd'"),
    ("socket nobody listens on", "-serial unix:{missing}", "{missing}"),
    ("socket in a missing directory", "-serial unix:{deep},server=on,wait=off", "{deep}"),
    ("TCP port in use", "-serial tcp:127.0.0.1:{port},server=on,wait=off", "in use"),
    ("file in a missing directory", "-serial file:{deep}", "{deep}"),
    ("unknown serial", "-serial stdoi", "did you mean 'stdio'?"),
    ("serial on an unknown chardev", "-serial chardev:nobody", "add '-chardev BACKEND,id=nobody'"),
    ("chardev used twice", "-chardev null,id=a -serial chardev:a -serial chardev:a", "mux=on"),
    ("terminal used twice", "-serial stdio -serial stdio", "taken by"),
    ("five serial ports", "-serial null -serial null -serial null -serial null -serial null", "4 serial ports"),
    ("terminal in the background", "-daemonize -serial stdio", "leaves the terminal"),
    # Process
    ("bad gdb", "-gdb 1234", "-gdb tcp::1234"),
    ("gdb port in use", "-gdb tcp:127.0.0.1:{port}", "in use"),
    ("pid file of a running machine", "-pidfile {locked}", "belongs to process 12345"),
    ("pid file in a missing directory", "-pidfile {deep}", "-pidfile: cannot open '{deep}'"),
    ("log in a missing directory", "-D {deep}", "-D: cannot open the log file '{deep}'"),
    ("unknown log category", "-d guest_error", "did you mean 'guest_errors'?"),
    ("log filter without an end", "-dfilter 0x8000", "FIRST..LAST, FIRST+SIZE or LAST-SIZE"),
    ("log filter of no number", "-dfilter kernel..end", "'kernel..end' is not a range of addresses"),
    ("log filter backwards", "-dfilter 0x9000..0x8000", "'0x9000..0x8000' is empty"),
    ("log filter of nothing", "-dfilter 0x9000+0", "'0x9000+0' is empty"),
    ("failure in the background", "-daemonize -pidfile {deep}", "-pidfile: cannot open"),
]

# Programs in front of the one under test, which take away what it needs; "probe" tells whether they work here.
SANDBOXED = [
    ("no /dev/kvm", "mount -t tmpfs none /dev", "/dev/kvm"),
    ("/dev/kvm that is something else", "mount --bind /dev/null /dev/kvm", "/dev/kvm"),
]


def run(command):
    """(exit status, standard error); a status of None is one that did not end in time."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired as late:
        return None, (late.stderr or b"").decode(errors="replace")
    return done.returncode, done.stderr.decode(errors="replace")


def complaints(status, text, expected):
    """What is wrong with how the program ended."""
    if status is None:
        return ["it did not end within %d seconds" % TIME_LIMIT]
    wrong = []
    if status != 1:
        wrong.append("it ended with %s" % ("signal %d" % -status if status < 0 else "status %d" % status))
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0].startswith("doppel: "):
        wrong.append("standard error is not one line of 'doppel: '")
    if expected not in text:
        wrong.append("'%s' is missing from the sentence" % expected)
    return wrong


def all_cases(program, names):
    """(title, shown command line, command, expected sentence)."""
    for title, line, expected in CASES:
        words = [word.format(**names) for word in line.split(" ")]
        yield title, line, [program] + (COMMON + words if words[-1] != "-m" else words), expected.format(**names)
    for title, setup, expected in SANDBOXED:
        if run(["unshare", "-rm", "sh", "-c", setup])[0] != 0:
            print("skipped: %s: cannot make it so here" % title, file=sys.stderr)
            continue
        script = "%s && exec \"$@\"" % setup
        yield title, "(%s) -accel kvm" % setup, ["unshare", "-rm", "sh", "-c", script, "sh", program] + COMMON + ["-accel", "kvm"], expected


def main(arguments):
    table = "--table" in arguments
    arguments = [word for word in arguments if word != "--table"]
    if not arguments:
        sys.exit(__doc__)
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: no access to /dev/kvm, which most cases get as far as", file=sys.stderr)
        return 77
    program = os.path.abspath(arguments[0])
    wanted = arguments[1] if len(arguments) > 1 else ""
    fixture = Fixture()
    failed = count = 0
    if table:
        print("| what is wrong | command line | what Doppel says |\n|---|---|---|")
    try:
        for title, line, command, expected in all_cases(program, fixture.names):
            if wanted not in title:
                continue
            count += 1
            status, text = run(command)
            wrong = complaints(status, text, expected)
            if table:
                said = text.strip().replace(fixture.directory, "/tmp/x").replace("|", "\\|").replace("\n", "<br>")
                shown = line.replace("{{", "{").replace("|", "\\|")
                print("| %s | `%s` | %s |" % (title, shown, said))
            if wrong:
                failed += 1
                print("FAILED: %s: %s\n  %s\n  said: %s" % (title, "; ".join(wrong), " ".join(command), text.rstrip()),
                      file=sys.stderr)
    finally:
        fixture.close()
    print("%d cases, %d failed" % (count, failed), file=sys.stderr)
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
