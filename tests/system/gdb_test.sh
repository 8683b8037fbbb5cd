#!/usr/bin/env bash
# Debian's gdb on a machine that runs SeaBIOS: breakpoints, steps, registers, memory, Ctrl-C, reset, detach, kill.
#   tests/system/gdb_test.sh PATH-OF-doppel-system-x86_64
# Exit status: 0 passed, 1 failed, 77 skipped.
set -u

program=${1:?usage: $0 PATH-OF-doppel-system-x86_64}
skip() { echo "SKIP: $1"; exit 77; }
[ -r /dev/kvm ] && [ -w /dev/kvm ] || skip "no usable /dev/kvm"
command -v gdb >/dev/null || skip "gdb is not installed"

directory=$(mktemp -d)
machine=
# shellcheck disable=SC2317  # called by trap
clean_up() {
  [ -z "$machine" ] || kill "$machine" 2>/dev/null
  rm -rf "$directory"
}
trap clean_up EXIT

failures=0
check() {  # check WHAT PATTERN: the last session's output has it
  if grep -Eq -- "$2" "$directory/output"; then
    echo "ok: $1"
  else
    echo "FAIL: $1 (expected: $2)"
    failures=$((failures + 1))
  fi
}

start_machine() {
  timeout 120 "$program" -S -nodefaults -m 64 -display none -gdb "unix:$directory/gdb" >"$directory/log" 2>&1 &
  machine=$!
  for _ in $(seq 100); do
    [ -S "$directory/gdb" ] && return
    sleep 0.1
  done
  cat "$directory/log"
  echo "FAIL: the machine did not begin to listen"
  exit 1
}

# Runs gdb with the commands on standard input; at most a minute.
debug() {
  { printf 'set pagination off\nset confirm off\ntarget remote %s/gdb\n' "$directory"; cat; } >"$directory/commands"
  timeout --foreground 60 gdb -nx -batch -x "$directory/commands" </dev/null >"$directory/output" 2>&1
  sed 's/^/  gdb: /' "$directory/output"
}

start_machine

echo "Stepping from the reset vector into SeaBIOS's 32-bit code"
debug <<'GDB'
printf "reset: rip=%lx cs=%x cr0=%lx\n", $rip, $cs, (long)$cr0
printf "vector: %02x\n", *(unsigned char*)0xfffffff0
hbreak *0xfe05b
continue
printf "at breakpoint: rip=%lx\n", $rip
set $before = $rip
stepi
printf "stepped: %d\n", $rip > $before && $rip < $before + 16
set $steps = 0
while ((long)$cr0 & 1) == 0 && $steps < 200
  stepi
  set $steps = $steps + 1
end
stepi
stepi
printf "protected: %d after %d steps\n", (long)$cr0 & 1, $steps
stepi
set $target = $rip
printf "flat code at %lx: %02x\n", $target, *(unsigned char*)$target
delete

echo Reset, and straight back to that place\n
monitor system_reset
maintenance flush register-cache
printf "after reset: rip=%lx\n", $rip
hbreak *$target
continue
printf "again there: %d\n", $rip == $target
delete

echo Registers and memory\n
set $rax = 0x1234567890abcdef
set $xmm5.v2_int64[1] = 42
set {unsigned int}0x600 = 0xdeadbeef
maintenance flush register-cache
printf "rax=%lx xmm5=%d memory=%x\n", $rax, (int)$xmm5.v2_int64[1], *(unsigned int*)0x600
info threads
monitor info registers
monitor info breakpoints
GDB
check "the machine waits at the reset vector" 'reset: rip=fff0 cs=f000 cr0=60000010'
check "the reset vector holds a far jump" 'vector: ea'
check "a hardware breakpoint stops real-mode code" 'at breakpoint: rip=e05b'
check "a step moves RIP by one instruction" 'stepped: 1'
check "steps cross port I/O into protected mode" 'protected: 1 after [0-9]+ steps'
check "monitor system_reset resets" 'after reset: rip=fff0'
check "a breakpoint stops 32-bit code by its address" 'again there: 1'
check "registers and memory keep what is written" 'rax=1234567890abcdef xmm5=42 memory=deadbeef'
check "CPUs are threads" 'Thread 1 .CPU#0'
check "monitor info registers" 'CR0=[0-9a-f]*1 CR2='
watchpoints=yes
grep -q 'data watchpoints do not work' "$directory/output" && watchpoints=no

echo "Watchpoints"
# gdb -batch left the first session by detaching: the machine runs.
debug <<'GDB'
printf "halted on attach: rip=%lx\n", $rip
monitor info status
monitor system_reset
maintenance flush register-cache
awatch *(int*)0x6ffc
continue
GDB
check "attaching halts the machine" 'VM status: paused'
if [ $watchpoints = yes ]; then
  check "a watchpoint stops at an access" 'Hardware access .*watchpoint'
else
  check "an impossible watchpoint is refused" 'Could not insert hardware watchpoint'
  echo "skipped: watchpoints, which this host's KVM does not report"
fi

echo "Running, interrupting, detaching"
debug <<'GDB'
monitor system_reset
maintenance flush register-cache
shell (sleep 1; kill -INT $PPID) &
continue
printf "interrupted: %d\n", $rip != 0xfff0
detach
GDB
check "Ctrl-C stops a running machine" 'Program received signal SIGINT'
check "the machine has run" 'interrupted: 1'
check "detaching" 'detached'

echo "Killing"
kill -0 "$machine" 2>/dev/null || { echo "FAIL: the machine is gone"; failures=$((failures + 1)); }
debug <<'GDB'
kill
GDB
wait "$machine"
status=$?
machine=
if [ $status -eq 0 ]; then
  echo "ok: kill ends the machine"
else
  echo "FAIL: after kill the machine's exit status is $status"
  failures=$((failures + 1))
fi

[ $failures -eq 0 ] && echo PASS && exit 0
sed 's/^/  machine: /' "$directory/log"
echo "FAIL: $failures checks"
exit 1
