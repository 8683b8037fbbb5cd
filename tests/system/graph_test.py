#!/usr/bin/env python3
"""Block graphs: -blockdev, dotted options and json: names, filters, encryption and bitmaps, against qemu-img and qemu-io.

usage: graph_test.py [--seed N] SYSTEM IMG     exit status 77: skipped, no qemu-img or qemu-io
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from commands import TIME_LIMIT, wait_until_built

MIB = 1 << 20


def run(*command, status=0, says=None):
    """Standard output; the exit status must be as expected, and a failure must be told in words."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT)
    words = " ".join(map(str, command))
    if done.returncode != status:
        raise AssertionError(f"{words}: status {done.returncode}, expected {status}\n{done.stdout}{done.stderr}")
    if says and says not in done.stderr:
        raise AssertionError(f"{words}: {says!r} is missing in {done.stderr!r}")
    return done.stdout


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}:\n{got}\nexpected:\n{wanted}")


class Bench:
    """The programs, and a directory that is gone at the end."""

    def __init__(self, system, img, chance):
        self.system, self.img, self.chance = system, img, chance

    def refused(self, says, *arguments):
        """The tool must fail with a sentence that has SAYS."""
        run(self.img, *arguments, status=1, says=says)

    def machine(self, *arguments, says=None):
        """Starts a machine that stays paused, and ends it; with SAYS it must not start."""
        command = [self.system, "-accel", "soft", "-display", "none", "-S", "-serial", "null", *arguments]
        if says is not None:
            return run(*command, status=1, says=says)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if wait_until_built(process):
            process.terminate()
        output = process.communicate(timeout=TIME_LIMIT)[0]
        if process.returncode == 0 and "error" not in output:
            return output
        raise AssertionError(f"{' '.join(command)} ended with {process.returncode}: {output}")


def image_options(bench):
    """The same graphs, said in three ways, to both tools."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "4M")
    run("qemu-io", "-c", "write -P 1 0 4M", "base.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    run("qemu-io", "-c", "write -P 2 1M 1M", "top.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "other.qcow2", "4M")
    run("qemu-io", "-c", "write -P 3 0 3M", "other.qcow2")
    run("qemu-img", "create", "-q", "-f", "qed", "-b", "base.qcow2", "-F", "qcow2", "top.qed")
    run("qemu-io", "-f", "qed", "-c", "write -P 4 1M 1M", "top.qed")
    run("qemu-img", "convert", "-O", "vmdk", "base.qcow2", "base.vmdk")
    run("qemu-img", "create", "-q", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", "top.vmdk")
    run("qemu-io", "-f", "vmdk", "-c", "write -P 5 1M 1M", "top.vmdk")
    shutil.copy("base.vmdk", "copy.vmdk")
    run("qemu-img", "create", "-q", "-f", "vdi", "top.vdi", "4M")
    graphs = [
        {"driver": "qcow2", "file": {"driver": "file", "filename": "top.qcow2"}},
        {"driver": "qcow2", "file": {"driver": "file", "filename": "top.qcow2"}, "backing": None},
        {"driver": "qcow2", "file": {"driver": "file", "filename": "top.qcow2"},
         "backing": {"driver": "qcow2", "file": {"driver": "file", "filename": "other.qcow2"}}},
        {"driver": "qed", "file": {"driver": "file", "filename": "top.qed"}, "backing": None},
        {"driver": "qed", "file": {"driver": "file", "filename": "top.qed"},
         "backing": {"driver": "qcow2", "file": {"driver": "file", "filename": "other.qcow2"}}},
        {"driver": "vmdk", "file": {"driver": "file", "filename": "top.vmdk"},
         "backing": {"driver": "vmdk", "file": {"driver": "file", "filename": "copy.vmdk"}}},
        {"driver": "raw", "offset": 65536, "size": 65536, "file": {"driver": "file", "filename": "top.qcow2"}},
        {"file": {"driver": "file", "filename": "top.qcow2", "cache": {"direct": False}}},
        {"driver": "qcow2", "file": {"driver": "blkdebug", "image": {"driver": "file", "filename": "top.qcow2"}}},
    ]
    for graph in graphs:
        name = "json:" + json.dumps(graph)
        run("qemu-img", "convert", "-O", "raw", name, "theirs.raw")
        run(bench.img, "convert", "-O", "raw", name, "ours.raw")
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", "ours.raw", "theirs.raw")
        dotted = ",".join(f"{key}={value}" for key, value in flatten(graph))
        run(bench.img, "convert", "--image-opts", "-O", "raw", dotted, "ours.raw")
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", "ours.raw", "theirs.raw")
    # A json: name in an image's header.
    inner = json.dumps({"driver": "qcow2", "file": {"driver": "file", "filename": "other.qcow2"}})
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "json:" + inner, "-F", "qcow2", "json.qcow2")
    run(bench.img, "compare", "json.qcow2", "other.qcow2")
    bench.refused("did you mean 'filename'?", "info", "--image-opts", "driver=qcow2,file.driver=file,file.filenam=top.qcow2")
    bench.refused("did you mean 'qcow2'?", "info", "--image-opts", "driver=qcow,file.filename=top.qcow2")
    bench.refused("take no backing= option", "map", "--image-opts", "driver=vdi,file.filename=top.vdi,backing.driver=qcow2,backing.file.filename=other.qcow2")
    bench.refused("needs file", "info", "--image-opts", "driver=qcow2")
    bench.refused("exclude each other", "info", "-f", "qcow2", "--image-opts", "driver=qcow2,file.filename=top.qcow2")
    bench.refused("is not valid JSON", "info", "json:{")
    bench.refused("there is no node 'x'", "info", "--image-opts", "driver=qcow2,file=x")
    bench.refused("is both the input and the output", "dd", "if=top.qcow2", "of=./top.qcow2")


def flatten(value, name=""):
    for key, inner in value.items():
        key = f"{name}.{key}" if name else key
        if isinstance(inner, dict):
            yield from flatten(inner, key)
        else:
            yield key, {None: "", True: "on", False: "off"}.get(inner, inner)


def blockdev(bench):
    """What libvirt writes, and what must be refused."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "vda.qcow2", "8M")
    with open("cd.iso", "wb") as iso:
        iso.truncate(MIB)
    os.chmod("cd.iso", 0o444)
    storage = ["-blockdev", '{"driver":"file","filename":"vda.qcow2","node-name":"libvirt-2-storage","cache":{"direct":true,"no-flush":false},'
               '"auto-read-only":true,"discard":"unmap"}']
    layout = ["-blockdev", '{"node-name":"libvirt-2-format","read-only":false,"cache":{"direct":true,"no-flush":false},"discard":"unmap",'
              '"detect-zeroes":"unmap","driver":"qcow2","file":"libvirt-2-storage","backing":null}']
    cd = ["-blockdev", '{"driver":"file","filename":"cd.iso","node-name":"libvirt-1-storage","auto-read-only":true,"discard":"unmap"}',
          "-blockdev", '{"node-name":"libvirt-1-format","read-only":true,"driver":"raw","file":"libvirt-1-storage"}']
    disk = ["-device", '{"driver":"ide-hd","bus":"ide.0","unit":0,"drive":"libvirt-2-format","id":"ide0-0-0"}']
    medium = ["-device", '{"driver":"ide-cd","bus":"ide.1","unit":0,"drive":"libvirt-1-format","id":"ide0-1-0"}']
    bench.machine("-nodefaults", *storage, *layout, *cd, *disk, *medium)
    # A CD-ROM that nobody writes to is not locked for writing: two machines may have it.
    other = subprocess.Popen([bench.system, "-accel", "soft", "-display", "none", "-S", "-nodefaults", *cd, *medium], stdin=subprocess.DEVNULL)
    try:
        expect("the other machine is built", wait_until_built(other), True)
        bench.machine("-nodefaults", *cd, *medium)
    finally:
        other.terminate()
        expect("the other machine's status", other.wait(timeout=20), 0)
    node = ["-blockdev", "driver=file,node-name=f,filename=vda.qcow2", "-blockdev", "driver=qcow2,node-name=q,file=f"]
    bench.machine(*node, "-device", "ide-hd,drive=q")
    bench.machine("-blockdev", "driver=qcow2,node-name=q,file.driver=file,file.filename=vda.qcow2,file.locking=off", "-device", "ide-hd,drive=q")
    bench.machine("-object", "throttle-group,id=g,limits.iops-total=100", *node, "-blockdev", "driver=throttle,node-name=t,throttle-group=g,file=q",
                  "-device", "ide-hd,drive=t")
    bench.machine("-drive", "driver=qcow2,file.driver=file,file.filename=vda.qcow2,throttling.bps-total=1M,copy-on-read=on,detect-zeroes=on,aio=threads")
    bench.machine("-drive", 'file=json:{"driver":"qcow2",,"file":{"driver":"file",,"filename":"vda.qcow2"}},iops=100,iops_max=200')
    for says, words in [
            ("did you mean 'node-name'?", ["-blockdev", "driver=file,nodename=f,filename=vda.qcow2"]),
            ("needs node-name=", ["-blockdev", "driver=file,filename=vda.qcow2"]),
            ("needs driver=", ["-blockdev", "node-name=a"]),
            ("needs filename", ["-blockdev", "driver=file,node-name=a"]),
            ("there are two nodes 'f'", node + ["-blockdev", "driver=null-co,node-name=f"]),
            ("there is no node 'ff' (did you mean 'f'?)", node[:2] + ["-blockdev", "driver=qcow2,node-name=q,file=ff"]),
            ("node 'f' belongs to 'q', which may write to it", node + ["-blockdev", "driver=raw,node-name=r,file=f"]),
            ("is in another device already", node + ["-device", "ide-hd,drive=q", "-device", "ide-hd,drive=q"]),
            ("node 'f' is read-only", ["-blockdev", "driver=file,node-name=f,filename=vda.qcow2,read-only=on", "-blockdev", "driver=qcow2,node-name=q,file=f"]),
            ("add read-only=on", ["-blockdev", "driver=file,node-name=f,filename=vda.qcow2,force-share=on"]),
            ("No such file", ["-blockdev", "driver=file,node-name=f,filename=missing"]),
            ("discard is one of ignore unmap", ["-blockdev", "driver=null-co,node-name=f,discard=maybe"]),
            ("there is no throttle group 'x'", node + ["-blockdev", "driver=throttle,node-name=t,throttle-group=x,file=q"]),
            ("bps-total and bps-read exclude each other", ["-object", "throttle-group,id=g,x-bps-total=1,x-bps-read=1"]),
            ("did you mean 'bps-total'?", ["-object", "throttle-group,id=g,x-bps-totl=1"]),
            ("'flie' is no event", ["-blockdev", "driver=blkdebug,node-name=d,image.driver=null-co,inject-error.0.event=flie"]),
            ("needs either data or file", ["-object", "secret,id=s"]),
    ]:
        bench.machine(*words, says=says)


def copy_on_read(bench):
    """What is read is kept: afterwards the image has it all, and is still the same."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "cor.qcow2", "-b", "base.qcow2", "-F", "qcow2")
    run("qemu-io", "-c", "write -P 9 100k 3k", "cor.qcow2")
    run("qemu-img", "convert", "-O", "raw", "cor.qcow2", "before.raw")
    # Reads that are not aligned, until everything was read.
    graph = "driver=copy-on-read,read-only=off,file.driver=qcow2,file.file.filename=cor.qcow2"
    run(bench.img, "bench", "-c", "200", "-s", "70000", "--image-opts", graph)
    run("qemu-img", "check", "cor.qcow2")
    run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", "cor.qcow2", "before.raw")
    depths = {piece["depth"] for piece in json.loads(run("qemu-img", "map", "--output=json", "cor.qcow2"))}
    expect("depths after everything was read", depths, {0})
    bench.refused("cannot be read-only", "bench", "--image-opts", graph.replace("off", "on"))


def blkdebug(bench):
    """Both tools must fail, or not, for the same rules."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "debug.qcow2", "4M")
    run("qemu-io", "-c", "write -P 7 0 4M", "debug.qcow2")
    with open("rules.conf", "w", encoding="ascii") as rules:
        rules.write('[inject-error]\nevent = "l2_load"\nerrno = "5"\nimmediately = "off"\n\n[set-state]\nevent = "read_aio"\nstate = "1"\nnew_state = "2"\n')
    for options in ["inject-error.0.event=none", "inject-error.0.event=none,inject-error.0.sector=1000", "config=rules.conf",
                    "inject-error.0.event=none,inject-error.0.iotype=write", "inject-error.0.event=none,inject-error.0.iotype=flush",
                    "inject-error.0.event=l2_load,inject-error.0.state=2", "inject-error.0.event=read_aio,inject-error.0.errno=28",
                    "inject-error.0.event=none,inject-error.0.sector=0,inject-error.0.once=on", "align=4096,max-transfer=65536"]:
        graph = f"driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=debug.qcow2,file." + options.replace(",", ",file.")
        statuses = [subprocess.run([tool, "convert", "--image-opts", "-O", "raw", graph, "debug.raw"], stdin=subprocess.DEVNULL, capture_output=True,
                                   timeout=TIME_LIMIT).returncode for tool in (bench.img, "qemu-img")]
        expect(f"status with {options} of doppel-img and qemu-img", *statuses)


def blkverify(bench):
    run("qemu-img", "create", "-q", "-f", "qcow2", "verify.qcow2", "1M")
    run("qemu-img", "create", "-q", "-f", "raw", "verify.raw", "1M")
    graph = "driver=blkverify,test.driver=qcow2,test.file.filename=verify.qcow2,raw.driver=raw,raw.file.filename=verify.raw"
    run(bench.img, "bench", "-w", "-c", "100", "-s", "5000", "--pattern=7", "--image-opts", graph)
    run(bench.img, "bench", "-c", "100", "-s", "5000", "--image-opts", graph)
    run("qemu-img", "compare", "verify.qcow2", "verify.raw")
    run("qemu-io", "-f", "raw", "-c", "write -P 8 70000 1", "verify.raw")
    bench.refused("blkverify: the contents differ at offset 70000", "bench", "-c", "100", "-s", "5000", "--image-opts", graph)


def throttled(bench):
    """A hundred requests at 50 a second take about two seconds, half of which a burst may save."""
    begin = time.monotonic()
    run(bench.img, "bench", "-c", "75", "--object", "throttle-group,id=g,limits.iops-total=50", "--image-opts",
        "driver=throttle,throttle-group=g,file.driver=null-co")
    taken = time.monotonic() - begin
    if not 1.2 < taken < 20:
        raise AssertionError(f"75 requests at 50 a second took {taken:.2f} s")


def encryption(bench):
    """Images that either tool has made and written, read by the other; cryptsetup looks at the headers."""
    secret = ["--object", "secret,id=sec0,data=MTIzNDU2,format=base64"]
    theirs = ["--object", "secret,id=sec0,data=123456"]
    with open("password", "w", encoding="ascii") as file:
        file.write("123456")
    run("qemu-img", "create", "-q", "-f", "raw", "plain.raw", "3M")
    for _ in range(20):
        offset, length = bench.chance.randrange(2 * MIB) // 512 * 512, 512 * bench.chance.randrange(1, 200)
        run("qemu-io", "-f", "raw", "-c", f"write -P {bench.chance.randrange(1, 256)} {offset} {length}", "plain.raw")
    variants = [("luks", "", ""), ("luks", "", "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha1"),
                ("luks", "", "cipher-alg=serpent-256,ivgen-alg=plain,hash-alg=sha512"), ("qcow2", "encrypt.", ""),
                ("qcow2", "encrypt.", "encrypt.cipher-alg=twofish-128"), ("qcow2", "encrypt.", "cluster_size=4k")]
    for number, (image_format, prefix, extra) in enumerate(variants):
        options = f"{prefix}key-secret=sec0,{prefix}iter-time=100" + (",encrypt.format=luks" if prefix else "") + ("," + extra if extra else "")
        for maker, words, other, other_words in ((bench.img, secret, "qemu-img", theirs), ("qemu-img", theirs, bench.img, secret)):
            image = f"enc{number}-{os.path.basename(maker)}"
            graph = f"driver={image_format},{prefix}key-secret=sec0,file.filename={image}"
            if maker == bench.img:  # in two steps too: an empty image that is written afterwards
                run(maker, "create", "-q", *words, "-f", image_format, "-o", options, image, "3M")
                run(maker, "convert", *words, "-n", "-f", "raw", "--target-image-opts", "plain.raw", graph)
            else:
                command = [maker, "convert", *words, "-f", "raw", "-O", image_format, "-o", options, "plain.raw", image]
                for _ in range(20):  # qemu-img gives up where the host's clock of CPU time is too coarse
                    if subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=TIME_LIMIT).returncode == 0:
                        break
                else:
                    run(*command)
            for tool, keys in ((other, other_words), (maker, words)):
                run(tool, "compare", *keys, "--image-opts", graph, "driver=raw,file.filename=plain.raw")
                if prefix:
                    run(tool, "check", *keys, "--image-opts", graph)
            infos = [json.loads(run(tool, "info", "--output=json", image)) for tool in (bench.img, "qemu-img")]
            for info in infos:
                info.pop("actual-size", None)
                info.pop("children", None)
            expect("info", *infos)
            if prefix:
                run("qemu-io", *theirs, "--image-opts", "-c", "write -P 9 100k 3k", "-c", "discard 1M 64k", graph)
                run(bench.img, "bench", *secret, "-w", "-c", "9", "-s", "700", "-o", "2M", "--pattern=7", "--image-opts", graph)
                run("qemu-io", *theirs, "--image-opts", "-c", "read -P 9 100k 3k", "-c", "read -P 7 2M 6300", graph)
                run("qemu-img", "check", *theirs, "--image-opts", graph)
            elif shutil.which("cryptsetup"):
                run("cryptsetup", "luksDump", image)
                if "serpent" not in extra:  # which the host's kernel need not have
                    run("cryptsetup", "open", "--type", "luks1", "--test-passphrase", "--key-file", "password", image)
        bench.refused("in none of the image's key slots", "convert", "--object", "secret,id=sec0,data=wrong", "--image-opts", graph, "x.raw")
        bench.refused("it is encrypted", "convert", "-O", "raw", image, "x.raw")
    if shutil.which("cryptsetup"):
        with open("cs.luks", "wb") as file:
            file.truncate(4 * MIB)
        run("cryptsetup", "-q", "luksFormat", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file", "password", "cs.luks")
        graph = "driver=luks,key-secret=sec0,file.filename=cs.luks"
        run("qemu-io", *theirs, "--image-opts", "-c", "write -P 3 0 1M", graph)
        run(bench.img, "convert", *secret, "--image-opts", "-O", "raw", graph, "cs.raw")
        run("qemu-io", "-f", "raw", "-c", "read -P 3 0 1M", "cs.raw")
    # A secret that another one encrypts, as libvirt hands them over.
    bench.refused("not valid base64", "info", "--object", "secret,id=a,data=!!,format=base64", "plain.raw")
    bench.refused("there is no secret 'b'", "info", "--object", "secret,id=a,data=MTIz,keyid=b,iv=AAAA", "plain.raw")
    bench.refused("did you mean 'sec0'?", "convert", *secret, "--image-opts", graph.replace("sec0", "sec"), "x.raw")
    bench.machine("-object", "secret,id=sec0,file=password", "-drive", "driver=qcow2,file.filename=enc3-doppel-img,encrypt.format=luks,encrypt.key-secret=sec0")
    bench.machine("-drive", "file=enc3-doppel-img,format=qcow2", says="it is encrypted")


def amend(bench):
    """The same changes by both tools leave images of which both tell the same."""
    for number, (make, changes) in enumerate([("compat=0.10", ["compat=1.1"]), ("compat=1.1", ["lazy_refcounts=on"]), ("compat=1.1,lazy_refcounts=on",
            ["lazy_refcounts=off"]), ("compat=0.10", ["compat=v3,lazy_refcounts=on", "size=2M"])]):
        infos = []
        for tool in (bench.img, "qemu-img"):
            image = f"amend{number}.qcow2"
            if os.path.exists(image):
                os.remove(image)
            run("qemu-img", "create", "-q", "-f", "qcow2", "-o", make, image, "1M")
            run("qemu-io", "-c", "write -P 5 100k 100k", image)
            for change in changes:
                run(tool, "amend", "-q", "-o", change, image)
            run("qemu-img", "check", "-q", image)
            run("qemu-io", "-c", "read -P 5 100k 100k", image)
            infos.append(json.loads(run("qemu-img", "info", "--output=json", image)))
            infos[-1].pop("actual-size")
        expect(f"info after {changes}", *infos)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=1.1", "amend.qcow2", "1M")
    bench.refused("cannot become version 2", "amend", "-o", "compat=0.10", "amend.qcow2")
    bench.refused("did you mean 'lazy_refcounts'?", "amend", "-o", "lazy_refcount=on", "amend.qcow2")
    bench.refused("'rebase' changes the backing file", "amend", "-o", "backing_file=base.qcow2", "amend.qcow2")
    bench.refused("-o is missing", "amend", "amend.qcow2")
    bench.refused("cannot be amended", "amend", "-f", "raw", "-o", "size=2M", "plain.raw")


def passwords(bench):
    """Passwords that either tool adds and takes; the other opens the image by what is left."""
    secrets = [word for number in range(3) for word in ("--object", f"secret,id=sec{number},data=password{number}")]
    for image_format, prefix in (("luks", ""), ("qcow2", "encrypt.")):
        def graph(number):
            return f"driver={image_format},{prefix}key-secret=sec{number},file.filename=pass.{image_format}"

        def change(tool, number, *options):
            words = ",".join(prefix + option for option in options)
            for _ in range(20):  # qemu-img gives up where the host's clock of CPU time is too coarse
                done = subprocess.run([tool, "amend", *secrets, "--image-opts", "-o", words, graph(number)],
                                      stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT, check=False)
                if done.returncode == 0:
                    return
            raise AssertionError(f"{tool} amend -o {words}: {done.stderr.decode()}")

        def opens(*numbers):
            for number in range(3):
                for tool in (bench.img, "qemu-img"):
                    run(tool, "compare", *secrets, "--image-opts", graph(number), "driver=raw,file.filename=plain.raw",
                        status=0 if number in numbers else 2)

        options = f"{prefix}key-secret=sec0,{prefix}iter-time=20" + (",encrypt.format=luks" if prefix else "")
        run(bench.img, "convert", *secrets, "-f", "raw", "-O", image_format, "-o", options, "plain.raw", f"pass.{image_format}")
        for tool, other in ((bench.img, "qemu-img"), ("qemu-img", bench.img)):
            change(tool, 0, "state=active", "new-secret=sec1", "iter-time=20")
            opens(0, 1)
            change(other, 1, "state=active", "new-secret=sec2", "keyslot=5", "iter-time=20")
            opens(0, 1, 2)
            change(tool, 1, "state=inactive", "keyslot=5")
            change(other, 0, "state=inactive", "old-secret=sec1")
            opens(0)
        bench.refused("no password would be left", "amend", *secrets, "--image-opts", "-o", f"{prefix}state=inactive,{prefix}keyslot=0", graph(0))
        bench.refused("state=active adds a password", "amend", *secrets, "--image-opts", "-o", f"{prefix}keyslot=0", graph(0))
        bench.refused(f"did you mean '{prefix}new-secret'?", "amend", *secrets, "--image-opts", "-o", f"{prefix}new-secrt=sec1", graph(0))
        bench.refused("keyslot= is a number", "amend", *secrets, "--image-opts", "-o", f"{prefix}state=inactive,{prefix}keyslot=x", graph(0))
        if image_format == "luks" and shutil.which("cryptsetup"):
            run("cryptsetup", "luksDump", "pass.luks")
    run("qemu-img", "create", "-q", "-f", "qcow2", "plain.qcow2", "1M")
    bench.refused("not encrypted", "amend", *secrets, "-o", "encrypt.state=inactive,encrypt.keyslot=0", "plain.qcow2")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("system")
    parser.add_argument("img")
    arguments = parser.parse_args()
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("skipped: qemu-img and qemu-io (qemu-utils) are not installed")
        sys.exit(77)
    bench = Bench(os.path.abspath(arguments.system), os.path.abspath(arguments.img), random.Random(arguments.seed))
    with tempfile.TemporaryDirectory(prefix="doppel-graph-", dir=".") as directory:
        os.chdir(directory)
        for part in PARTS:
            try:
                part(bench)
            except Exception:
                print(f"seed {arguments.seed}: failed in {part.__name__}")
                raise
            print(f"{part.__name__}: as expected")
        os.chdir("..")


PARTS = [image_options, blockdev, copy_on_read, blkdebug, blkverify, throttled, encryption, passwords, amend]
main()
