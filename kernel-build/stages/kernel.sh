# Stage "kernel": bzImage, and the modules packed as a cpio archive.

build_kernel() { # WORK RESULT
  local work=$1 result=$2 release
  unpack_package linux-source-6.12 "$work/package"
  mkdir "$work/source"
  # Drivers that no configuration of ours can reach are left out; their Kconfig files are needed all the same.
  tar -xf "$work"/package/usr/src/linux-source-6.12.tar.xz -C "$work/source" --strip-components=1 \
    --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
    --exclude='*/sound/*.[ch]' --exclude='*/Documentation/*.rst' --exclude='*/arch/*/boot/dts/*'
  rm -rf "$work/package"
  export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=smart-os KBUILD_BUILD_HOST=smart-os
  export KBUILD_BUILD_VERSION=1
  local make=(make -C "$work/source" ARCH=i386 O="$work/build" KCFLAGS="-fdebug-prefix-map=$work=.")
  mkdir "$work/build"
  "${make[@]}" KCONFIG_ALLCONFIG="$here/kernel.config" allnoconfig
  check_configuration "$here/kernel.config" "$work/build/.config"
  "${make[@]}" -j"$jobs" bzImage modules
  "${make[@]}" INSTALL_MOD_PATH="$work/modules" INSTALL_MOD_STRIP=1 modules_install
  release=$(cat "$work/build/include/config/kernel.release")
  rm -f "$work/modules/lib/modules/$release/build" "$work/modules/lib/modules/$release/source"
  # modprobe of busybox reads the text forms.
  rm -f "$work/modules/lib/modules/$release"/*.bin
  pack_cpio "$work/modules" "$result/modules.cpio"
  cp "$work/build/arch/x86/boot/bzImage" "$result/bzImage"
  cp "$work/build/.config" "$result/kernel.config"
}

# A cpio archive that depends on nothing but names and contents.
pack_cpio() { # DIRECTORY ARCHIVE
  find "$1" -exec touch -h -d @0 {} +
  (cd "$1" && find . -mindepth 1 | sed 's|^\./||' | sort |
    cpio --quiet -o -H newc -R 0:0 --reproducible) >"$2"
}
