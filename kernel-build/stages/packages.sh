# Debian's packages: the tools that must be installed, and the sources that the other stages unpack.

# Installs the tools that are missing; the only thing that changes the machine.
install_tools() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "Cannot build the system here: this is neither Debian nor Ubuntu; install Docker, or build on Debian 12 or newer"
  fi
  local missing=() package
  for package in "${BUILD_TOOLS[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "Cannot install ${missing[*]}: install them as root, or install sudo"
    sudo=(sudo)
  fi
  echo "  installing ${missing[*]}"
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q) log
  log=$(mktemp)
  # A fresh machine has no package lists at all, an old list names files that are gone.
  if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    "${apt[@]}" update >"$log" 2>&1 || true
    if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
      tail -n 5 "$log" >&2
      fail "Cannot install ${missing[*]}: apt-get failed, see above"
    fi
  fi
  rm -f "$log"
}

# Name and version of what decides the bytes, a package a line; nothing where it is not installed.
toolchain() {
  dpkg-query -W -f '${db:Status-Abbrev}${Package} ${Version}\n' "${TOOLCHAIN[@]}" 2>/dev/null | sed -n 's/^ii //p' | sort || true
}

# A configuration of apt of our own, made of the machine's: most machines have no "deb-src" entries, and theirs are not
# ours to edit. Sets apt_options.
private_apt() { # DIRECTORY
  local directory=$1 file
  mkdir -p "$directory"/{lists/partial,cache/archives/partial,state,sources.list.d}
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    sed -E 's/^Types:.*/Types: deb deb-src/I; /^Architectures:/Id' "$file" >"$directory/sources.list.d/${file##*/}"
  done
  : >"$directory/sources.list"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    # [arch=…] would hide the other architecture that is asked for.
    sed -nE 's/^[[:space:]]*deb[[:space:]]+//p' "$file" | sed -E 's/arch=[^] ]*//; s/^\[ *\]//' |
      while read -r line; do printf 'deb %s\ndeb-src %s\n' "$line" "$line"; done >"$directory/${file#/etc/apt/}"
  done
  : >"$directory/status"
  apt_options=(
    -q
    -o "Dir::Etc::sourcelist=$directory/sources.list"
    -o "Dir::Etc::sourceparts=$directory/sources.list.d"
    -o "Dir::State=$directory/state"
    -o "Dir::State::lists=$directory/lists"
    -o "Dir::State::status=$directory/status"
    -o "Dir::Cache=$directory/cache"
    -o "APT::Sandbox::User=$(id -un)"
    -o "Acquire::Languages=none"
    -o "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"
    -o "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false"
    -o "APT::Architectures::=$(dpkg --print-architecture)"
    -o "APT::Architectures::=amd64"
  )
}

build_sources() { # WORK RESULT
  local work=$1 result=$2 package file
  private_apt "$work/apt"
  # An unrelated source that does not answer must not stop the build; a package that is missing will.
  apt-get "${apt_options[@]}" update || true
  compgen -G "$work/apt/lists/*Packages*" >/dev/null ||
    fail "Cannot download Debian's packages: apt-get update reached none of this machine's sources"
  mkdir -p "$result/debs" "$result/sources"
  for package in "${UNPACKED[@]}"; do
    apt-cache "${apt_options[@]}" show "$package" >/dev/null ||
      fail "Cannot build the system here: $(release) has no package $package; install Docker, or build on Debian 12 or newer"
  done
  (cd "$result/debs" && apt-get "${apt_options[@]}" download "${UNPACKED[@]}")
  (cd "$result/sources" && apt-get "${apt_options[@]}" source --download-only "${SOURCES[@]}")
  # What was really taken. This file decides the keys of the other stages and stands in the manifest.
  for file in "$result"/debs/*.deb; do
    printf '%s %s\n' "$(dpkg-deb -f "$file" Package)" "$(dpkg-deb -f "$file" Version)"
  done >"$result/versions.new"
  for file in "$result"/sources/*.dsc; do
    printf '%s %s\n' "$(sed -n 's/^Source: //p' "$file" | head -n 1)" "$(sed -n 's/^Version: //p' "$file" | head -n 1)"
  done >>"$result/versions.new"
  (cd "$result" && sha256sum debs/*.deb sources/*) >"$result/sums"
  sort "$result/versions.new" >"$result/versions"
  rm "$result/versions.new"
}

# Says whether the downloaded packages are still what apt has verified.
check_sources() {
  (cd "$(stage_dir sources)" && sha256sum --quiet -c sums)
}

# Unpacks a binary package into a directory.
unpack_package() { # PACKAGE DIRECTORY
  local files=("$(stage_dir sources)"/debs/"$1"_*.deb)
  mkdir -p "$2"
  dpkg-deb -x "${files[0]}" "$2"
}

# Unpacks a source package with Debian's patches applied.
unpack_source() { # PACKAGE DIRECTORY
  local files=("$(stage_dir sources)"/sources/"$1"_*.dsc)
  # apt has already checked its signature and sums.
  dpkg-source --no-check -x "${files[0]}" "$2"
}

package_version() { # PACKAGE
  sed -n "s/^$1 //p" "$(stage_dir sources)/versions"
}
