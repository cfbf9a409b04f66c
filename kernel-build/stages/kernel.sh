# Stage "kernel": bzImage, and the modules packed as a cpio archive.

# Parts of the source that no configuration of ours reaches: a tenth of the time goes into unpacking. The Kconfig and
# Makefile in each directory are read all the same.
UNUSED_SOURCE=(
  '*/drivers/gpu/*.[ch]' '*/drivers/media/*.[ch]' '*/drivers/net/wireless/*.[ch]' '*/drivers/staging/*.[ch]'
  '*/drivers/infiniband/*.[ch]' '*/drivers/iio/*.[ch]' '*/sound/*.[ch]' '*/Documentation/*.rst' '*/Documentation/*.yaml'
  '*/arch/*/boot/dts/*' '*/tools/testing/*' '*/tools/perf/*'
)

build_kernel() { # WORK RESULT
  local work=$1 result=$2 release modules pattern exclude=()
  for pattern in "${UNUSED_SOURCE[@]}"; do exclude+=("--exclude=$pattern"); done
  unpack_package linux-source-6.12 "$work/package"
  mkdir "$work/source" "$work/build"
  tar -xf "$work"/package/usr/src/linux-source-6.12.tar.xz -C "$work/source" --strip-components=1 "${exclude[@]}"
  rm -rf "$work/package"
  local patch
  for patch in "$here"/patches/linux-*.patch; do patch -d "$work/source" -p1 --fuzz=0 <"$patch"; done
  export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=smart-os KBUILD_BUILD_HOST=smart-os
  export KBUILD_BUILD_VERSION=1
  # Programs that this kernel does not need, but whose versions would stand in its configuration where they are found.
  local make=(make -C "$work/source" ARCH=i386 CROSS_COMPILE=i686-linux-gnu- O="$work/build"
    RUSTC=false RUSTDOC=false BINDGEN=false PAHOLE=false
    KCFLAGS="-ffile-prefix-map=$work=." KAFLAGS="-ffile-prefix-map=$work=.")
  "${make[@]}" KCONFIG_ALLCONFIG="$here/kernel.config" allnoconfig
  check_configuration "$here/kernel.config" "$work/build/.config"
  "${make[@]}" -j"$jobs" bzImage modules
  "${make[@]}" INSTALL_MOD_PATH="$work/modules" INSTALL_MOD_STRIP=1 modules_install
  release=$(cat "$work/build/include/config/kernel.release")
  modules=$work/modules/lib/modules/$release
  rm -f "$modules/build" "$modules/source"
  # The modprobe of busybox reads the text forms.
  rm -f "$modules"/*.bin
  pack_cpio "$work/modules" "$result/modules.cpio"
  cp "$work/build/arch/x86/boot/bzImage" "$result/bzImage"
  cp "$work/build/.config" "$result/kernel.config"
  # No artefact: bench/where.ts reads names from it.
  cp "$work/build/System.map" "$result/System.map"
}

# A cpio archive that depends on nothing but names and contents.
pack_cpio() { # DIRECTORY ARCHIVE
  find "$1" -exec touch -h -d @0 {} +
  (cd "$1" && find . -mindepth 1 -printf '%P\n' | sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$2"
}
