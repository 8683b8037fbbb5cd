# Sourced by ./run, ./test and .ci/run: progress lines, package installation, building.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
CACHE=$ROOT/.cache
export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=$ROOT CCACHE_SLOPPINESS=pch_defines,time_macros DEBIAN_FRONTEND=noninteractive

say() { printf '\n==> %s\n' "$*"; }
die() { printf 'doppel: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "installing packages needs root: run as root once, or install sudo"; fi
}

# installs what of FILE's packages is missing; nothing to do takes a tenth of a second
install_packages() {
  local wanted missing
  wanted=$(grep -v '^#' scripts/packages.txt)
  missing=$(comm -23 <(sort -u <<<"$wanted") <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u))
  [ -z "$missing" ] && return
  say "Installing" $missing
  as_root apt-get update -qq
  # shellcheck disable=SC2086
  as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  say "Building ($preset)"
  [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" ${1:+--target "$@"}
}
