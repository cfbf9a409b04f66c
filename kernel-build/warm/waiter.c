/*
 * Stands in for /init while the state of a warm boot is made, and goes on when it is restored: it takes the project's
 * files from the page and becomes the project's /init, still process 1.
 *
 * Two ports of the emulated PC are the way to the page (web/hand-over.ts):
 *
 *   out PORT, ADDRESS      "put the next records into my buffer at ADDRESS" (a virtual address; BUFFER_BYTES are there)
 *   in  PORT               how many bytes there are now; 0: nothing yet
 *   out PORT + 4, NUMBER   record and error number of what went wrong: the page boots in another way
 *
 * A record is words of 32 bits, little endian: what it is, its length in bytes with these two words, and then
 *
 *   REMOVE      path                                                (a directory must be empty)
 *   WIPE        size path                                           (removes a file, and zeros what it had in memory)
 *   DIRECTORY   mode uid gid mtime path                             (one that is there only gets the attributes)
 *   ENTER       path                                                (of the directory in which files are made next)
 *   FILE        mode uid gid mtime size name                        (its content follows in DATA records)
 *   DATA        length bytes
 *   SYMLINK     mode uid gid mtime path target
 *   DEVICE      mode (with the kind) uid gid mtime major minor path
 *   ATTRIBUTES  mode uid gid mtime path                             (of what is there)
 *   CLOCK       seconds nanoseconds
 *   ENTROPY     length bytes
 *   CARD        six bytes: the address of eth0
 *   DISK        minor: waits for the disk with that number, and for its partitions
 *   RUN         becomes /init
 *
 * Of what is made, an owner and a group of 0xffffffff are left as they are. What a call sets that makes something is not set
 * again: each of thousands of files costs four calls.
 *
 * Paths end in a zero byte; records fill up to whole words and none crosses the buffer's end.
 * Limitations: one processor, one thread, no C library; the system calls of 32-bit x86 Linux.
 */

#define PORT 0x0540
#define BUFFER_BYTES (1 << 20)

enum { REMOVE = 1, DIRECTORY, FILE, DATA, SYMLINK, DEVICE, ATTRIBUTES, CLOCK, ENTROPY, CARD, DISK, RUN, ENTER, WIPE };

typedef unsigned int word;
typedef int number;

/* arch/x86/entry/syscalls/syscall_32.tbl */
enum {
  SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6, SYS_UNLINK = 10, SYS_EXECVE = 11, SYS_CHDIR = 12, SYS_MKNOD = 14, SYS_CHMOD = 15,
  SYS_MOUNT = 21, SYS_MKDIR = 39, SYS_RMDIR = 40, SYS_UMOUNT = 52, SYS_IOCTL = 54, SYS_UMASK = 60,
  SYS_SYMLINK = 83, SYS_MUNMAP = 91,
  SYS_IOPERM = 101, SYS_SYSINFO = 116, SYS_NANOSLEEP = 162, SYS_MMAP = 192, SYS_LCHOWN = 198, SYS_FCHOWN = 207,
  SYS_FCHMOD = 94, SYS_SOCKET = 359, SYS_CLOCK_SETTIME64 = 404, SYS_UTIMENSAT64 = 412
};

static number call(number what, word a, word b, word c, word d, word e) {
  number result;
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(what), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory", "cc");
  return result;
}

#define ADDRESS(pointer) ((word)(pointer))

enum { EEXIST = 17, EISDIR = 21, EINVAL = 22 };
enum { WRITE_ONLY = 1, CREATE = 0100, EXCLUSIVE = 0200 };
enum { HERE = -100, NO_FOLLOW = 0x100 };
enum { TYPE = 0170000, LINK = 0120000, BLOCK = 0060000, CHARACTER = 0020000 };

static void out(word port, word value) { __asm__ volatile("outl %0, %w1" : : "a"(value), "d"(port) : "memory"); }

static word in(word port) {
  word value;
  __asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(port) : "memory");
  return value;
}

static char buffer[BUFFER_BYTES] __attribute__((aligned(4096)));
static char **arguments, **environment;
static int randomness;
static word umask;
/* The file whose content is under way. */
static struct { number handle; word left; word kept[4]; } file;

/* The page ends a machine that says this. */
static void fail(word record, number error) {
  for (;;) out(PORT + 4, record << 16 | (word)-error);
}

static number must(word record, number result) {
  if (result < 0) fail(record, result);
  return result;
}

static void pause_ms(word ms) {
  word time[2] = {0, ms * 1000000};
  call(SYS_NANOSLEEP, ADDRESS(time), 0, 0, 0, 0);
}

static int is_given(const word *attributes) { return (attributes[1] & attributes[2]) != 0xffffffff; }

struct time64 { word low, high, nanoseconds, nanoseconds_high; };

/* By path, or of the open file when path is 0. Times before owner and mode would be of no use: those change none. */
static void set_mtime(word record, number handle, const char *path, word mtime) {
  struct time64 times[2] = {{mtime, 0, 0, 0}, {mtime, 0, 0, 0}};
  must(record, call(SYS_UTIMENSAT64, (word)handle, ADDRESS(path), ADDRESS(times), path ? NO_FOLLOW : 0, 0));
}

/* attributes: mode uid gid mtime. A change of the owner clears setuid, so the mode comes after it. */
static void set_attributes(word record, const char *path, const word *attributes, int is_link) {
  if (is_given(attributes)) must(record, call(SYS_LCHOWN, ADDRESS(path), attributes[1], attributes[2], 0, 0));
  if (!is_link) must(record, call(SYS_CHMOD, ADDRESS(path), attributes[0] & 07777, 0, 0, 0));
  set_mtime(record, HERE, path, attributes[3]);
}

static void remove(const char *path) {
  number result = call(SYS_UNLINK, ADDRESS(path), 0, 0, 0, 0);
  if (result == -EISDIR) result = call(SYS_RMDIR, ADDRESS(path), 0, 0, 0, 0);
  must(REMOVE, result);
}

/* A file's pages stay the same when it is written over; those that are given back are not cleared. */
static void wipe(const word *body) {
  static char zeros[1 << 16];
  const char *path = (const char *)(body + 1);
  word left = body[0];
  number handle = must(WIPE, call(SYS_OPEN, ADDRESS(path), WRITE_ONLY, 0, 0, 0));
  while (left > 0) {
    word length = left < sizeof zeros ? left : sizeof zeros;
    left -= (word)must(WIPE, call(SYS_WRITE, handle, ADDRESS(zeros), length, 0, 0));
  }
  call(SYS_CLOSE, handle, 0, 0, 0, 0);
  must(WIPE, call(SYS_UNLINK, ADDRESS(path), 0, 0, 0, 0));
}

static void finish_file(void) {
  if (is_given(file.kept)) {
    must(FILE, call(SYS_FCHOWN, file.handle, file.kept[1], file.kept[2], 0, 0));
    must(FILE, call(SYS_FCHMOD, file.handle, file.kept[0] & 07777, 0, 0, 0));
  }
  set_mtime(FILE, file.handle, 0, file.kept[3]);
  call(SYS_CLOSE, file.handle, 0, 0, 0, 0);
}

static void begin_file(const word *body) {
  int index;
  for (index = 0; index < 4; index++) file.kept[index] = body[index];
  file.left = body[4];
  file.handle = must(FILE, call(SYS_OPEN, ADDRESS(body + 5), WRITE_ONLY | CREATE | EXCLUSIVE, body[0] & 07777, 0, 0));
  if (file.left == 0) finish_file();
}

static void fill_file(const char *bytes, word length) {
  file.left -= length;
  while (length > 0) {
    word written = (word)must(DATA, call(SYS_WRITE, file.handle, ADDRESS(bytes), length, 0, 0));
    bytes += written;
    length -= written;
  }
  if (file.left == 0) finish_file();
}

static void make_link(const word *body) {
  const char *path = (const char *)(body + 4), *target = path;
  while (*target++) {}
  must(SYMLINK, call(SYS_SYMLINK, ADDRESS(target), ADDRESS(path), 0, 0, 0));
  set_attributes(SYMLINK, path, body, 1);
}

/* include/linux/kdev_t.h, new_decode_dev */
static word device_number(word major, word minor) { return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12; }

static void make_device(const word *body) {
  const char *path = (const char *)(body + 6);
  must(DEVICE, call(SYS_MKNOD, ADDRESS(path), body[0], device_number(body[4], body[5]), 0, 0));
  set_attributes(DEVICE, path, body, 0);
}

static void make_directory(const word *body) {
  const char *path = (const char *)(body + 4);
  number result = call(SYS_MKDIR, ADDRESS(path), 0700, 0, 0, 0);
  if (result != -EEXIST) must(DIRECTORY, result);
  set_attributes(DIRECTORY, path, body, 0);
}

static void set_clock(const word *body) {
  struct time64 now = {body[0], 0, body[1], 0};
  must(CLOCK, call(SYS_CLOCK_SETTIME64, 0, ADDRESS(&now), 0, 0, 0));
}

/* include/uapi/linux/random.h. Without the second call the kernel would go on with its old key for up to a minute. */
enum { ADD_ENTROPY = 0x40085203, RESEED = 0x5207 };

static void add_entropy(word *body) {
  /* struct rand_pool_info: bits, bytes, and the bytes. */
  word length = body[0];
  body[-1] = length * 8;
  must(ENTROPY, call(SYS_IOCTL, randomness, ADD_ENTROPY, ADDRESS(body - 1), 0, 0));
  must(ENTROPY, call(SYS_IOCTL, randomness, RESEED, 0, 0, 0));
}

/* include/uapi/linux/if.h, struct ifreq; SIOCSIFHWADDR. Where there is no such card nothing needs an address. */
static void set_card(const char *address) {
  struct { char name[16]; unsigned short family; char address[14]; } request = {"eth0", 1, {0}};
  int index;
  number handle = must(CARD, call(SYS_SOCKET, 2, 2, 0, 0, 0));
  for (index = 0; index < 6; index++) request.address[index] = address[index];
  call(SYS_IOCTL, handle, 0x8924, ADDRESS(&request), 0, 0);
  call(SYS_CLOSE, handle, 0, 0, 0, 0);
}

static void write_text(const char *path, const char *text, word length) {
  number handle = must(DISK, call(SYS_OPEN, ADDRESS(path), WRITE_ONLY, 0, 0, 0));
  must(DISK, call(SYS_WRITE, handle, ADDRESS(text), length, 0, 0));
  call(SYS_CLOSE, handle, 0, 0, 0, 0);
}

/* Looks for disks on both channels, as the kernel does at its start. */
static void find_disks(void) {
  must(DISK, call(SYS_MOUNT, ADDRESS("sysfs"), ADDRESS("/sys"), ADDRESS("sysfs"), 0, 0));
  write_text("/sys/class/scsi_host/host0/scan", "- - -", 5);
  must(DISK, call(SYS_UMOUNT, ADDRESS("/sys"), 0, 0, 0, 0));
}

/* Who opens a disk waits until its partitions have been read. */
static void wait_for_disk(word minor) {
  const char *node = "/dev/.disk";
  word tries;
  number handle = -1;
  must(DISK, call(SYS_MKNOD, ADDRESS(node), BLOCK | 0600, device_number(8, minor), 0, 0));
  for (tries = 0; tries < 5000 && handle < 0; tries++) {
    handle = call(SYS_OPEN, ADDRESS(node), 0, 0, 0, 0);
    if (handle < 0) pause_ms(1);
  }
  must(DISK, handle);
  call(SYS_CLOSE, handle, 0, 0, 0, 0);
  must(DISK, call(SYS_UNLINK, ADDRESS(node), 0, 0, 0, 0));
}

/* What this program has opened is gone, its memory goes with the exec: the next one finds what the kernel gave this one. */
static void run(void) {
  call(SYS_CLOSE, randomness, 0, 0, 0, 0);
  call(SYS_UMASK, umask, 0, 0, 0, 0);
  must(RUN, call(SYS_CHDIR, ADDRESS("/"), 0, 0, 0, 0));
  must(RUN, call(SYS_IOPERM, PORT, 8, 0, 0, 0));
  number result = call(SYS_EXECVE, ADDRESS("/init"), ADDRESS(arguments), ADDRESS(environment), 0, 0);
  call(SYS_IOPERM, PORT, 8, 1, 0, 0);
  fail(RUN, result);
}

static void perform(word *record) {
  word *body = record + 2;
  switch (record[0]) {
    case REMOVE: remove((const char *)body); break;
    case WIPE: wipe(body); break;
    case DIRECTORY: make_directory(body); break;
    case FILE: begin_file(body); break;
    case DATA: fill_file((const char *)(body + 1), body[0]); break;
    case SYMLINK: make_link(body); break;
    case DEVICE: make_device(body); break;
    case ATTRIBUTES: set_attributes(ATTRIBUTES, (const char *)(body + 4), body, (body[0] & TYPE) == LINK); break;
    case CLOCK: set_clock(body); break;
    case ENTROPY: add_entropy(body); break;
    case CARD: set_card((const char *)body); break;
    case DISK: if (body[0] == 0xffffffff) find_disks(); else wait_for_disk(body[0]); break;
    case RUN: run(); break;
    case ENTER: must(ENTER, call(SYS_CHDIR, ADDRESS(body), 0, 0, 0, 0)); break;
    default: fail(record[0], -EINVAL);
  }
}

/* include/uapi/linux/sysinfo.h */
struct sysinfo { word uptime, loads[3], total, free, shared, buffers, total_swap, free_swap; unsigned short processes, pad;
  word total_high, free_high, unit; char fill[8]; };

enum { PIECE = 1 << 18, MOST_PIECES = 4096 };

/*
 * What stays free: more than the kernel may want for itself at any time. Its least is 4 * sqrt(kB of memory) kB, until it has to
 * take pages for programs from a block that is kept for its own: then it wants a block of 4 MB more, or 2.25 times the least
 * where that is more (vm.watermark_boost_factor), until kswapd has run. When the clock jumps while kswapd runs, as on a busy
 * machine, this program goes on before: asking for a page then would end in a search for a program to kill, and there is
 * only this one. The rest is for what else the kernel does meanwhile, and for zones (ZONE_DMA) that other kernels have.
 */
static word spare_of(word total) { return (8 << 20) + total / 64; }

/* Pages that a program is given are cleared, and a page of zeros takes no room in a state. */
static void clear_free_memory(void) {
  static word pieces[MOST_PIECES];
  struct sysinfo info;
  word count = 0;
  while (count < MOST_PIECES) {
    number piece;
    if (call(SYS_SYSINFO, ADDRESS(&info), 0, 0, 0, 0) < 0 || info.free < spare_of(info.total)) break;
    /* Read and write; private, anonymous, filled at once. The sixth argument is an offset and stays what it is. */
    piece = call(SYS_MMAP, 0, PIECE, 3, 0x8022, (word)-1);
    if (piece < 0 && piece > -4096) break;
    pieces[count++] = (word)piece;
  }
  while (count > 0) call(SYS_MUNMAP, pieces[--count], PIECE, 0, 0, 0);
}

static void prepare(void) {
  word at;
  const char *node = "/dev/.random";
  remove("/init");
  umask = (word)call(SYS_UMASK, 0, 0, 0, 0, 0);
  must(0, call(SYS_MKNOD, ADDRESS(node), CHARACTER | 0600, device_number(1, 8), 0, 0));
  randomness = must(0, call(SYS_OPEN, ADDRESS(node), 2, 0, 0, 0));
  must(0, call(SYS_UNLINK, ADDRESS(node), 0, 0, 0, 0));
  must(0, call(SYS_IOPERM, PORT, 8, 1, 0, 0));
  clear_free_memory();
  for (at = 0; at < BUFFER_BYTES; at += 4096) ((volatile char *)buffer)[at] = 0;
}

void start(word *stack) {
  arguments = (char **)(stack + 1);
  environment = arguments + stack[0] + 1;
  prepare();
  for (;;) {
    char *at = buffer, *end;
    out(PORT, ADDRESS(buffer));
    end = buffer + in(PORT);
    while (at < end) {
      word *record = (word *)at;
      /* First: some are rewritten in place. */
      at += record[1];
      perform(record);
    }
  }
}

__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  push %esp\n  call start\n");
