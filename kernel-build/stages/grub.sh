# Stage "grub": the two pieces that go before the first partition, and one for CDs. boot.img is the master boot record's
# code, core.img the rest of GRUB with the modules that find and read /boot/grub/grub.cfg; cd.img is both for a CD, which
# the BIOS loads as a whole (El Torito).

GRUB_MODULES=(biosdisk part_msdos ext2 iso9660 linux linux16 normal configfile serial terminal search search_label test echo
  sleep reboot halt minicmd ls cat)

build_grub() { # WORK RESULT
  local work=$1 result=$2
  unpack_package grub-pc-bin "$work/package"
  unpack_package grub-common "$work/package"
  # The prefix names no drive: it is the one the BIOS booted from.
  "$work/package/usr/bin/grub-mkimage" -d "$work/package/usr/lib/grub/i386-pc" -O i386-pc \
    -p '(,msdos1)/boot/grub' -o "$work/core.img" "${GRUB_MODULES[@]}"
  perl "$here/stages/grub-core.pl" "$work/core.img" "$result/core.img"
  # Packed as it comes: nothing starts a CD on the emulator.
  "$work/package/usr/bin/grub-mkimage" -d "$work/package/usr/lib/grub/i386-pc" -O i386-pc-eltorito \
    -p '/boot/grub' -o "$result/cd.img" "${GRUB_MODULES[@]}"
  cp "$work/package/usr/lib/grub/i386-pc/boot.img" "$result/boot.img"
  # Sectors 1 to 2047 lie before the first partition.
  [ "$(stat -c %s "$result/core.img")" -le $((2047 * 512)) ] || fail "Cannot use core.img: it does not fit below sector 2048"
}
