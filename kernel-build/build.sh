#!/usr/bin/env bash
# Builds the system that the playground boots: kernel, busybox, GRUB, BIOS. The Dockerfile calls this script stage by
# stage, "npm run system" calls it with "all" on Debian or Ubuntu. See README.md in this folder.
#
#   build.sh all OUTPUT        every stage that is not in the cache, then the artefacts and the manifest in OUTPUT
#   build.sh stage NAME        one stage: sources, kernel, busybox, grub, bios
#   build.sh collect OUTPUT    copies the stages' results together
#   build.sh verify OUTPUT     builds everything again and compares it with OUTPUT/manifest.json
#   build.sh inputs            a sum over this folder's build files, as it stands in the manifest

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

cache=${SMART_OS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/smart-os}
jobs=$(nproc)

# The same inputs give the same bytes: no clock, no locale, no user, no host.
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=0
umask 022

. "$here/packages.sh"
. "$here/stages/progress.sh"
. "$here/stages/sources.sh"
. "$here/stages/kernel.sh"
. "$here/stages/busybox.sh"
. "$here/stages/grub.sh"
. "$here/stages/bios.sh"
. "$here/stages/manifest.sh"

STAGES=(sources kernel busybox grub bios)

# A stage's key: a hash of the files that decide its result and of the keys of the stages it builds on. The versions of
# Debian's packages are part of it through what "sources" has recorded, so a second run needs no network.
stage_key() { # STAGE
  case $1 in
    sources) cat "$here/packages.sh" "$here/stages/sources.sh" <(release) ;;
    kernel) cat "$here/kernel.config" "$here/stages/kernel.sh" "$(stage_dir sources)/versions" <(gcc_version) ;;
    busybox) cat "$here/busybox.config" "$here/stages/busybox.sh" "$(stage_dir sources)/versions" <(gcc_version) ;;
    grub) cat "$here/stages/grub.sh" "$(stage_dir sources)/versions" ;;
    bios) cat "$here/stages/bios.sh" "$(stage_dir sources)/versions" ;;
  esac | sha256sum | cut -c1-16
}

stage_dir() { # STAGE
  printf '%s/%s-%s' "$cache" "$1" "$(stage_key "$1")"
}

release() {
  . /etc/os-release
  printf '%s %s %s\n' "$ID" "${VERSION_CODENAME:-}" "$(uname -m)"
}

gcc_version() {
  gcc -dumpfullversion 2>/dev/null || true
}

# Runs a stage into a directory of its own and puts it in place whole, so that an interrupted build leaves no half
# result behind.
run_stage() { # STAGE
  local stage=$1 target work started
  target=$(stage_dir "$stage")
  if [ -d "$target" ]; then return; fi
  work="$cache/work/$stage"
  rm -rf "$work"
  mkdir -p "$work/result"
  started=$SECONDS
  progress_start "$stage" "$work/log"
  # In an "if" bash would ignore "set -e" inside the stage, hence the subshell and its status.
  set +e
  (
    set -e
    "build_$stage" "$work" "$work/result"
  ) >>"$work/log" 2>&1
  local status=$?
  set -e
  progress_stop
  if [ $status -ne 0 ]; then
    tail -n 25 "$work/log" >&2
    fail "Cannot build the stage $stage: see the lines above (the whole log is $work/log)"
  fi
  # Another build of the same inputs may have been quicker.
  [ -d "$target" ] || mv "$work/result" "$target"
  rm -rf "$work"
  printf '  %-8s built in %d s\n' "$stage" $((SECONDS - started))
}

build_all() {
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  if ! flock -n 9; then
    echo "  another build is running; waiting for it …"
    flock 9
  fi
  if [ ! -d "$(stage_dir sources)" ] || ! all_stages_built; then install_tools; fi
  local stage
  for stage in "${STAGES[@]}"; do run_stage "$stage"; done
}

# A sum over everything in this folder that decides the artefacts.
inputs() {
  (cd "$here" && cat build.sh packages.sh kernel.config busybox.config stages/*.sh) | sha256sum | cut -c1-16
}

all_stages_built() {
  local stage
  for stage in "${STAGES[@]}"; do [ -d "$(stage_dir "$stage")" ] || return 1; done
}

fail() {
  echo "$1" >&2
  exit 1
}

usage() {
  sed -n '5,9s/^# *//p' "${BASH_SOURCE[0]}"
  exit 2
}

case ${1:-} in
  all)
    build_all
    collect "${2:?}"
    ;;
  stage)
    mkdir -p "$cache"
    install_tools
    run_stage "${2:?}"
    ;;
  collect) collect "${2:?}" ;;
  inputs) inputs ;;
  verify)
    reference=${2:?}/manifest.json
    [ -f "$reference" ] || fail "Cannot verify: there is no $reference; run \`npm run system\` first"
    cache=$(mktemp -d "${TMPDIR:-/tmp}/smart-os-verify.XXXXXX")
    trap 'rm -rf "$cache"' EXIT
    build_all
    collect "$cache/output"
    if diff "$reference" "$cache/output/manifest.json"; then
      echo "Verified: everything built again, byte for byte the same"
    else
      fail "Cannot verify: the artefacts named above differ"
    fi
    ;;
  *) usage ;;
esac
