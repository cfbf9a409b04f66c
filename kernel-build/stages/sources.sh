# Stage "sources": Debian's packages, downloaded through a private apt that leaves the machine's own alone (it needs
# "deb-src" entries, which most machines have not).

# Compilers and tools, installed if one is missing; the only thing that changes the machine.
install_tools() {
  command -v apt-get >/dev/null ||
    fail "Cannot build the system here: this is neither Debian nor Ubuntu. Install Docker, and it is built in a container."
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
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q)
  local log
  log=$(mktemp)
  # A fresh machine has no package lists at all.
  if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
      tail -n 5 "$log" >&2
      fail "Cannot install ${missing[*]}: apt-get failed, see above"
    fi
  fi
  rm -f "$log"
}

# The machine's own apt sources, each with "deb-src" beside "deb".
private_apt() { # DIRECTORY
  local directory=$1 file
  mkdir -p "$directory"/{lists/partial,cache/archives/partial,state,sources}
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    sed -E 's/^Types:.*/Types: deb deb-src/' "$file" >"$directory/sources/$(basename "$file")"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    sed -nE 's/^deb +//p' "$file" | while read -r line; do printf 'deb %s\ndeb-src %s\n' "$line" "$line"; done \
      >"$directory/sources/$(basename "$file" .list).list"
  done
  : >"$directory/status"
  apt_options=(
    -q
    -o "Dir::Etc::sourcelist=/dev/null"
    -o "Dir::Etc::sourceparts=$directory/sources"
    -o "Dir::State=$directory/state"
    -o "Dir::State::lists=$directory/lists"
    -o "Dir::State::status=$directory/status"
    -o "Dir::Cache=$directory/cache"
    -o "APT::Sandbox::User=root"
    -o "Acquire::Languages=none"
  )
}

build_sources() { # WORK RESULT
  local work=$1 result=$2 package file
  private_apt "$work/apt"
  apt-get "${apt_options[@]}" update || true
  local libgcc
  libgcc=lib32gcc-$(gcc -dumpversion)-dev
  mkdir -p "$result/debs" "$result/sources"
  (cd "$result/debs" && apt-get "${apt_options[@]}" download "${UNPACKED[@]}" "$libgcc")
  (cd "$result/sources" && apt-get "${apt_options[@]}" source --download-only "${SOURCES[@]}")
  # What was really taken: it decides the keys of the other stages and stands in the manifest.
  for file in "$result"/debs/*.deb; do
    printf '%s %s\n' "$(dpkg-deb -f "$file" Package)" "$(dpkg-deb -f "$file" Version)"
  done >"$result/versions"
  for file in "$result"/sources/*.dsc; do
    printf '%s %s\n' "$(sed -n 's/^Source: //p' "$file" | head -n 1)" "$(sed -n 's/^Version: //p' "$file" | head -n 1)"
  done >>"$result/versions"
  sort -o "$result/versions" "$result/versions"
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

# Every symbol that a fragment asks for must stand in the final configuration.
check_configuration() { # FRAGMENT CONFIGURATION
  local lost=() line name
  while read -r line; do
    case $line in
      '# CONFIG_'*' is not set')
        name=${line#\# }
        name=${name% is not set}
        ! grep -q "^$name=" "$2" || lost+=("$name")
        ;;
      CONFIG_*)
        grep -qxF -- "$line" "$2" || lost+=("${line%%=*}")
        ;;
    esac
  done <"$1"
  if [ ${#lost[@]} -gt 0 ]; then
    echo "Cannot configure: these symbols of $(basename "$1") did not survive: ${lost[*]}"
    return 1
  fi
}
