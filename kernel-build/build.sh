#!/usr/bin/env bash
# Builds the system that the playground boots: kernel, busybox, GRUB, BIOS. The Dockerfile calls this script stage by
# stage, "npm run system" calls it with "all" on Debian or Ubuntu. See README.md in this folder.
#
#   build.sh all OUTPUT        every stage that is not in the cache, then the artefacts and the manifest in OUTPUT
#   build.sh stage NAME        one stage into the cache: sources, kernel, busybox, grub, bios, warm
#   build.sh collect OUTPUT    the artefacts and the manifest from stages that are in the cache
#   build.sh verify OUTPUT     builds everything again elsewhere and compares it with OUTPUT, byte for byte
#   build.sh inputs            a sum over what decides the artefacts, as it stands in the manifest
#   build.sh update            forgets the downloaded packages, so that the next build takes Debian's newest

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

cache=${SMART_OS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/smart-os}
jobs=$(nproc)

# The same inputs give the same bytes: no clock, no locale, no user, no host.
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=0
# Debian's tools, not those that a user has installed elsewhere.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 022
unset MAKEFLAGS CFLAGS CPPFLAGS LDFLAGS CROSS_COMPILE ARCH

STAGES=(sources kernel busybox grub bios warm)

. "$here/packages.sh"
# A stage of the Dockerfile has only the scripts that it needs, so that a change elsewhere leaves it cached.
for script in "$here"/stages/*.sh; do . "$script"; done

# What decides a stage's result. Versions are those that "sources" has recorded and those of the installed compiler, so
# a second run needs no network.
stage_inputs() { # STAGE
  case $1 in
    sources) printf '%s\n' "${UNPACKED[@]}" "${SOURCES[@]}" && release && uname -m ;;
    kernel) cat "$here"/{kernel.config,stages/{kernel,configuration}.sh} "$here"/patches/linux-* "$(stage_dir sources)/versions" && toolchain ;;
    busybox) cat "$here"/{busybox.config,stages/{busybox,configuration}.sh} "$here"/patches/busybox-* "$(stage_dir sources)/versions" && toolchain ;;
    grub) cat "$here"/stages/{grub.sh,grub-core.pl} "$(stage_dir sources)/versions" ;;
    bios) cat "$here"/stages/{bios.sh,bios-code.pl} "$(stage_dir sources)/versions" ;;
    warm) cat "$here"/{warm/waiter.c,stages/warm.sh} && toolchain ;;
  esac
}

stage_dir() { # STAGE
  local key
  key=$(stage_inputs "$1" | sha256sum)
  printf '%s/%s/%s' "$cache" "$1" "${key:0:16}"
}

release() {
  (. /etc/os-release && printf '%s %s\n' "$NAME" "${VERSION_ID:-${VERSION_CODENAME:-}}")
}

# Runs a stage into a directory of its own and puts it in place whole, so that an interrupted build leaves no half
# result behind.
run_stage() { # STAGE
  local stage=$1 target work started status=0
  target=$(stage_dir "$stage")
  [ ! -d "$target" ] || return 0
  work="$cache/work/$stage"
  rm -rf "$work"
  mkdir -p "$work/result" "$cache/$stage"
  started=$SECONDS
  progress_start "$stage" "$work/log"
  # In an "if" bash would ignore "set -e" inside the stage, hence the subshell and its status.
  set +e
  (
    set -e
    "build_$stage" "$work" "$work/result"
  ) >>"$work/log" 2>&1 </dev/null
  status=$?
  set -e
  progress_stop
  if [ $status -ne 0 ]; then
    case $(tail -n 1 "$work/log") in
      'Cannot '*) fail "$(tail -n 1 "$work/log")" ;;
    esac
    tail -n 25 "$work/log" >&2
    fail "Cannot build the stage $stage: see the lines above (the whole log is $work/log)"
  fi
  mv "$work/result" "$target"
  rm -rf "$work"
  printf '  %-8s built in %d s\n' "$stage" $((SECONDS - started))
}

build_all() {
  local stage
  if all_stages_built; then return; fi
  install_tools
  for stage in "${STAGES[@]}"; do run_stage "$stage"; done
}

all_stages_built() {
  local stage
  for stage in "${STAGES[@]}"; do [ -d "$(stage_dir "$stage" 2>/dev/null)" ] || return 1; done
}

# One build at a time in a cache; a second one waits and then finds everything built.
lock_cache() {
  case $cache in
    *[[:space:]:]*) fail "Cannot build in $cache: the kernel's makefiles refuse spaces and colons; set SMART_OS_CACHE" ;;
  esac
  mkdir -p "$cache/work"
  exec 9>"$cache/lock"
  if ! flock -n 9; then
    echo "  another build is running; waiting for it …"
    flock 9
  fi
}

verify() { # OUTPUT
  local reference=$1/manifest.json sources
  [ -f "$reference" ] || fail "Cannot verify: there is no $reference; run \`npm run system\` first"
  sources=$(stage_dir sources)
  # Packages are inputs: those that were downloaded are taken again, if they are still what was downloaded.
  if [ -d "$sources" ]; then check_sources || fail "Cannot verify: packages in $sources have changed since their download"; fi
  lock_cache
  cache=$(mktemp -d "${TMPDIR:-/tmp}/smart-os-verify.XXXXXX")
  trap 'progress_stop; rm -rf "$cache"' EXIT
  if [ -d "$sources" ]; then mkdir "$cache/sources" && cp -r "$sources" "$cache/sources/"; fi
  build_all
  collect "$cache/output"
  (cd "$1" && compare "$cache/output") || fail "Cannot verify: what is built now differs from $1, see above"
  echo "Verified: everything built again, byte for byte the same"
}

# Compares the artefacts in the current directory with those in another one.
compare() { # DIRECTORY
  local name same=0
  diff manifest.json "$1/manifest.json" || same=1
  for name in $(artefact_names); do cmp "$name" "$1/$name" || same=1; done
  return $same
}

fail() {
  echo "$1" >&2
  exit 1
}

usage() {
  sed -n '5,10s/^# *//p' "${BASH_SOURCE[0]}"
  exit 2
}

trap progress_stop EXIT
case ${1:-} in
  all)
    lock_cache
    build_all
    collect "${2:?}"
    ;;
  stage)
    lock_cache
    install_tools
    run_stage "${2:?}"
    ;;
  collect) collect "${2:?}" ;;
  inputs) inputs ;;
  verify) verify "$(realpath "${2:?}")" ;;
  update)
    lock_cache
    rm -rf "$(stage_dir sources)"
    ;;
  *) usage ;;
esac
