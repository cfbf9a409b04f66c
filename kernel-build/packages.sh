# What the stages take from Debian, and which of a package's files they use. Sourced by build.sh.

# Compilers and tools that must be installed on the machine that builds.
BUILD_TOOLS=(gcc make flex bison bc libelf-dev xz-utils bzip2 lz4 cpio kmod patch perl ca-certificates dpkg-dev libdevmapper1.02.1)

# Binary packages that are only unpacked, never installed.
UNPACKED=(linux-source-6.12 linux-libc-dev seabios grub-pc-bin grub-common)

# Source packages.
SOURCES=(busybox musl)
