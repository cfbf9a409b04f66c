# Stage "bios": SeaBIOS and its VGA BIOS, as Debian builds them from source.

build_bios() { # WORK RESULT
  unpack_package seabios "$1/package"
  cp "$1/package/usr/share/seabios/bios.bin" "$2/bios.bin"
  cp "$1/package/usr/share/seabios/vgabios-stdvga.bin" "$2/vgabios.bin"
}
