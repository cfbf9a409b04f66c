# What the stages take from Debian. Sourced by build.sh.

# Compilers and tools that must be installed on the machine that builds. The compiler is the cross compiler on every
# machine, so that a 64-bit ARM machine builds the same system.
BUILD_TOOLS=(gcc libc6-dev gcc-i686-linux-gnu libc6-dev-i386-cross make flex bison bc perl patch xz-utils bzip2 lz4 cpio
  kmod dpkg-dev ca-certificates libdevmapper1.02.1)

# Those of them that decide bytes: their versions are part of the stages' keys and stand in the manifest.
TOOLCHAIN=('gcc-[0-9]*-i686-linux-gnu' binutils-i686-linux-gnu linux-libc-dev-i386-cross)

# Binary packages that are only unpacked, never installed. grub-pc-bin exists for PCs alone; what is taken from it is
# the boot code, which runs in the guest.
UNPACKED=(linux-source-6.12 seabios grub-pc-bin:amd64 grub-common)

# Source packages.
SOURCES=(busybox musl)
