# Stage "busybox": a static i386 busybox over a musl that is built first. Debian's musl for i386 would need a foreign
# architecture on the machine; from source it takes a quarter of a minute.

# Debian's compiler makes position-independent code by default, which costs i386 a register and size.
PLAIN_CODE=(-march=i686 -fno-pie)

build_busybox() { # WORK RESULT
  local work=$1 result=$2 directory
  build_musl "$work"
  unpack_source busybox "$work/source"
  local patch
  for patch in "$here"/patches/busybox-*.patch; do patch -d "$work/source" -p1 --fuzz=0 <"$patch"; done
  # The kernel's interface headers, apart from the other C library's that they are installed with.
  mkdir "$work/headers"
  for directory in linux asm asm-generic mtd; do ln -s "/usr/i686-linux-gnu/include/$directory" "$work/headers/"; done
  local make=(make -C "$work/source" CROSS_COMPILE=i686-linux-gnu- HOSTCC=gcc SKIP_STRIP=n
    CC="$work/musl/bin/musl-gcc -static ${PLAIN_CODE[*]} -no-pie -ffile-prefix-map=$work=. -idirafter $work/headers")
  export REALGCC=i686-linux-gnu-gcc
  # Busybox would put the time of the build into its banner.
  export KCONFIG_NOTIMESTAMP=1
  "${make[@]}" defconfig
  apply_fragment "$here/busybox.config" "$work/source/.config"
  # "oldconfig" asks about what depends on the changes; the answer is the default. It ends by itself, "yes" does not.
  set +o pipefail
  yes '' | "${make[@]}" oldconfig
  set -o pipefail
  check_configuration "$here/busybox.config" "$work/source/.config"
  "${make[@]}" -j"$jobs" busybox busybox.links
  cp "$work/source/busybox" "$result/busybox"
  sort -u "$work/source/busybox.links" >"$result/busybox.links"
  cp "$work/source/.config" "$result/busybox.config"
}

build_musl() { # WORK
  local work=$1
  unpack_source musl "$work/musl-source"
  (
    cd "$work/musl-source"
    CC=i686-linux-gnu-gcc CROSS_COMPILE=i686-linux-gnu- CFLAGS="-Os ${PLAIN_CODE[*]} -ffile-prefix-map=$work=." \
      ./configure --target=i386 --prefix="$work/musl" --disable-shared --enable-wrapper=gcc
    make -j"$jobs" install
  )
}
