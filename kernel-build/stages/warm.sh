# Stage "warm": the program that waits for a project's files in the state of a warm boot. No C library: see its source.

build_warm() { # WORK RESULT
  local work=$1 result=$2
  i686-linux-gnu-gcc -march=i686 -Os -std=c11 -Wall -Wextra -Werror -ffreestanding -fno-pie -fno-stack-protector \
    -fno-asynchronous-unwind-tables -ffile-prefix-map="$work=." -nostdlib -static -no-pie \
    -Wl,--build-id=none -Wl,-z,noseparate-code -s -o "$result/waiter" "$here/warm/waiter.c"
}
