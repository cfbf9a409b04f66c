# Stage "busybox": a static i386 busybox over a musl that is built first. Debian's musl for i386 would need a foreign
# architecture on the machine; from source it takes a quarter of a minute.

build_busybox() { # WORK RESULT
  local work=$1 result=$2
  build_musl "$work"
  unpack_source busybox "$work/busybox"
  local make=(make -C "$work/busybox" CC="$work/cc" HOSTCC=gcc SKIP_STRIP=n)
  # Busybox stamps the time of the build into its banner; AUTOCONF_TIMESTAMP is what it takes instead.
  export KCONFIG_NOTIMESTAMP=1
  "${make[@]}" defconfig
  apply_fragment "$here/busybox.config" "$work/busybox/.config"
  # "oldconfig" asks about what depends on the changes; the answer is the default. It ends by itself, "yes" does not.
  set +o pipefail
  yes '' | "${make[@]}" oldconfig
  set -o pipefail
  check_configuration "$here/busybox.config" "$work/busybox/.config"
  "${make[@]}" -j"$jobs" busybox busybox.links
  cp "$work/busybox/busybox" "$result/busybox"
  sort -u "$work/busybox/busybox.links" >"$result/busybox.links"
  cp "$work/busybox/.config" "$result/busybox.config"
}

# Replaces the fragment's symbols in a configuration.
apply_fragment() { # FRAGMENT CONFIGURATION
  local line name
  while read -r line; do
    case $line in
      '# CONFIG_'*' is not set') name=${line#\# } name=${name% is not set} ;;
      CONFIG_*) name=${line%%=*} ;;
      *) continue ;;
    esac
    sed -i -E "/^(# )?$name( is not set|=.*)\$/d" "$2"
    printf '%s\n' "$line" >>"$2"
  done <"$1"
}

build_musl() { # WORK
  local work=$1 package
  unpack_source musl "$work/musl-source"
  (
    cd "$work/musl-source"
    CC="gcc -m32" AR=ar RANLIB=ranlib CFLAGS="-Os -march=i686 -ffile-prefix-map=$work=." \
      ./configure --target=i386 --prefix="$work/musl" --disable-shared --disable-wrapper
    make -j"$jobs"
    make install
  )
  for package in linux-libc-dev "lib32gcc-$(gcc -dumpversion)-dev"; do unpack_package "$package" "$work/headers"; done
  cat >"$work/static.specs" <<SPECS
*startfile:
$work/musl/lib/crt1.o $work/musl/lib/crti.o

*endfile:
$work/musl/lib/crtn.o

*link:
-m elf_i386 -static -nostdlib -L$work/musl/lib

*libgcc:
libgcc.a%s

SPECS
  # A compiler that knows nothing of the machine's own C library.
  cat >"$work/cc" <<CC
#!/bin/sh
exec gcc -m32 -march=i686 -static -specs "$work/static.specs" -ffile-prefix-map="$work"=. \\
  -nostdinc -isystem "$work/musl/include" -isystem "$(gcc -print-file-name=include)" \\
  -idirafter "$work/headers/usr/include" -idirafter "$work/headers/usr/include/x86_64-linux-gnu" \\
  -B"$work/headers/usr/lib/gcc/x86_64-linux-gnu/$(gcc -dumpversion)/32/" "\$@"
CC
  chmod +x "$work/cc"
}
