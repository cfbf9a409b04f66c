# Stage "bios": SeaBIOS and its VGA BIOS, as Debian builds them from source, but for two routines of the former.

build_bios() { # WORK RESULT
  unpack_package seabios "$1/package"
  perl "$here/stages/bios-code.pl" "$1/package/usr/share/seabios/bios.bin" "$2/bios.bin"
  cp "$1/package/usr/share/seabios/vgabios-stdvga.bin" "$2/vgabios.bin"
}
