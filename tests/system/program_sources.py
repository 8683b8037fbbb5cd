"""What programs_test.py runs: a script for the guest and the host, a C project of 20,000 lines, and a program for node."""
import os
import random

C_FILES = 40
C_FUNCTIONS = 50  # of 10 lines each, in a file

PYTHON_TESTS = """
test_argparse test_array test_ast test_base64 test_binascii test_bisect test_bytes test_bz2 test_calendar test_cmath
test_collections test_compile test_complex test_configparser test_contextlib test_copy test_csv test_dataclasses
test_datetime test_dict test_difflib test_enum test_float test_fractions test_functools test_generators test_grammar
test_hashlib test_heapq test_int test_itertools test_json test_list test_long test_math test_operator test_pickle test_queue
test_random test_re test_set test_sort test_statistics test_string test_struct test_textwrap test_threading
test_tuple test_unicode test_weakref test_zlib
""".split()

CHECK = """
work=${0%/*}
cd /tmp
/bin/busybox mkdir -p bin build
/bin/busybox --install -s bin
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:/tmp/bin HOME=/tmp LC_ALL=C PYTHONHASHSEED=0
echo "check begins"
case $1 in
gcc)
  cd build
  for file in $work/*.c; do
    x86_64-linux-gnu-gcc-12 -O2 -Wall -c "$file" -o "${file##*/}.o" || exit 1
  done
  x86_64-linux-gnu-gcc-12 *.o -o project && sha256sum *.o && ./project ;;
python)
  python3.11 -m test -j 2 PYTHON_TESTS 2>&1 | grep -E '^[0-9]+ tests? |^    test_|Tests result' ;;
openssl)
  openssl version
  cp $work/data data
  vector=00112233445566778899aabbccddeeff
  for digest in md5 sha1 sha224 sha256 sha384 sha512 sha3-256 sha512-256 blake2b512 shake256; do
    openssl dgst -$digest data || exit 1
  done
  for cipher in aes-128-cbc aes-256-cbc aes-128-ctr aes-256-ctr aes-192-ofb chacha20 camellia-256-cbc; do
    openssl enc -$cipher -K $vector$vector -iv $vector -in data -out sealed 2>/dev/null || exit 1
    sha256sum sealed
    openssl enc -d -$cipher -K $vector$vector -iv $vector -in sealed 2>/dev/null | cmp - data &&
      echo "$cipher opens what it sealed"
  done
  for kind in "RSA -pkeyopt rsa_keygen_bits:2048" ed25519 "EC -pkeyopt ec_paramgen_curve:P-256" x448; do
    openssl genpkey -algorithm $kind -out key.pem 2>/dev/null && openssl pkey -in key.pem -check -noout 2>/dev/null
    echo "$kind: key made, status $?"
  done
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out key.pem 2>/dev/null
  openssl pkey -in key.pem -pubout -out public.pem
  openssl dgst -sha512 -sign key.pem -out signature data && openssl dgst -sha512 -verify public.pem -signature signature data
  for kind in sha256 aes-256-gcm chacha20-poly1305 aes-128-cbc-hmac-sha256; do
    openssl speed -seconds 1 -bytes 8192 -evp $kind >/dev/null 2>&1
    echo "speed of $kind: status $?"
  done ;;
node)
  NODE_DISABLE_COLORS=1 node $work/work.js ;;
stress)
  mkdir -p /dev/pts /dev/shm
  mount -t devpts devpts /dev/pts && mount -t tmpfs shm /dev/shm || exit 1
  # This version has no class of signals.
  if [ "$2" = signal ]; then
    names=$(stress-ng --stressors | tr ' ' '\n' | grep '^sig')
  else
    names=$(stress-ng --class "$2?" | sed 's/.*: //' | tr ' ' '\n')
  fi
  names=$(echo "$names" | grep -vxE "$4")
  time=$(($3 / $(echo "$names" | wc -l) + 1))
  for name in $names; do
    if stress-ng --$name 2 --timeout $time --verify --temp-path /tmp > log 2>&1; then
      passed="$passed $name"
    else
      echo "$name: status $?"
      grep -E 'fail|error' log | head -n 3
    fi
  done
  echo "passed:$passed" ;;
esac
status=$?
echo
echo "check ends"
exit $status
"""

NODE = r"""
const crypto = require('crypto'), zlib = require('zlib');
const sum = x => crypto.createHash('sha256').update(typeof x === 'string' ? x : Buffer.from(x.buffer || x)).digest('hex').slice(0, 16);
let seed = 1;
const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) / 4294967296;
const checks = {
  doubles() { let x = new Float64Array(1000); for (let r = 0; r < 3000; r++) for (let i = 0; i < 1000; i++) x[i] = Math.sin(x[i] + i) * Math.sqrt(r + 1); return sum(x); },
  integers() { let h = 0; for (let i = 0; i < 3e7; i++) h = (Math.imul(h ^ i, 0x9e3779b1) >>> 3) ^ (h << 5); return h; },
  objects() { const m = new Map(); for (let i = 0; i < 300000; i++) { const k = 'k' + (i * 7919 % 10007); m.set(k, (m.get(k) || 0) + i); } return sum(JSON.stringify([...m])); },
  sorting() { const a = Array.from({length: 300000}, random); a.sort((x, y) => x - y); return sum(new Float64Array(a)); },
  strings() { let s = ''; for (let i = 0; i < 200000; i++) s += String.fromCharCode(97 + i % 26); return sum(s.replace(/([aeiou])(.)/g, '$2$1')) + s.match(/x.z/g).length; },
  bigints() { let a = 1n; for (let i = 1n; i < 1200n; i++) a *= i; return sum(a.toString()); },
  closures() { const f = n => n < 2 ? n : f(n - 1) + f(n - 2); return f(30); },
  exceptions() { let n = 0; for (let i = 0; i < 50000; i++) try { if (i % 3) throw new Error(i); n++; } catch (e) { n += e.message.length; } return n; },
  generators() { function* g() { for (let i = 0; ; i++) yield i * i; } let n = 0; for (const v of g()) { if (v > 1e10) break; n ^= v; } return n; },
  shapes() { class A { f() { return 1; } } class B extends A { f() { return super.f() + 1; } } class C { f() { return 3; } } const l = [new A, new B, new C]; let n = 0; for (let i = 0; i < 5e6; i++) n += l[i % 3].f(); return n; },
  compression() { const b = Buffer.from(Array.from({length: 200000}, () => random() * 40)); const z = zlib.deflateSync(b); return sum(z) + zlib.inflateSync(z).equals(b); },
  wasm() {
    const code = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 30, 1, 28, 0, 32, 0, 65, 2, 72, 4, 127, 32, 0,
      5, 32, 0, 65, 1, 107, 16, 0, 32, 0, 65, 2, 107, 16, 0, 106, 11, 11]);
    return new WebAssembly.Instance(new WebAssembly.Module(code)).exports.f(27);
  },
};
for (const [name, check] of Object.entries(checks)) for (let round = 0; round < 2; round++) console.log(name, check());
"""


def c_function(rng, file, number):
    a, b, c = (rng.randrange(1, 1 << 16) for _ in range(3))
    kind = rng.choice(["unsigned", "int", "long", "double", "unsigned char", "short"])
    step = rng.choice(["x = x * %d + (unsigned)t[i %% 16];", "x ^= x >> %d %% 31; x += (unsigned)(t[i %% 16] / 3);",
                       "if (x & 1u << %d %% 31) x += 7; else x = x >> 1 | x << 31;",
                       "switch (x %% 5) { case 0: x += %d; break; case 3: x -= 9; /* fall through */ default: x *= 3; }"]) % a
    return f"""
unsigned f{file}_{number}(unsigned x) {{
  {kind} t[16];
  for (int i = 0; i < 16; i++) t[i] = ({kind})(x % {b} + (unsigned)i * {c % 97});
  for (int i = 0; i < {rng.randrange(20, 60)}; i++) {{
    {step}
    t[x % 16] = ({kind})(t[(x >> 4) % 16] + ({kind})(i * {c % 13}));
  }}
  return x ^ (unsigned)t[x % 16];
}}
"""


def write(directory):
    rng = random.Random(4)
    for file in range(C_FILES):
        with open(f"{directory}/part{file:02}.c", "w", encoding="ascii") as out:
            out.writelines(c_function(rng, file, number) for number in range(C_FUNCTIONS))
            out.write(f"unsigned part{file}(unsigned x) {{\n")
            out.writelines(f"  x = f{file}_{number}(x);\n" for number in range(C_FUNCTIONS))
            out.write("  return x;\n}\n")
    with open(f"{directory}/main.c", "w", encoding="ascii") as out:
        out.write("#include <stdio.h>\n")
        out.writelines(f"unsigned part{file}(unsigned x);\n" for file in range(C_FILES))
        out.write("int main(void) {\n  unsigned x = 1;\n  for (int i = 0; i < 50; i++) {\n")
        out.writelines(f"    x = part{file}(x);\n" for file in range(C_FILES))
        out.write('    printf("%08x\\n", x);\n  }\n}\n')
    for name, text in (("check", CHECK.replace("PYTHON_TESTS", " ".join(PYTHON_TESTS))), ("work.js", NODE)):
        with open(f"{directory}/{name}", "w", encoding="ascii") as out:
            out.write(text)
    with open(f"{directory}/data", "wb") as out:
        out.write(rng.randbytes(1 << 20) + bytes(2 << 20))
    os.chmod(f"{directory}/check", 0o755)
