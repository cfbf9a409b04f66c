# Makes GRUB's core.img start sooner on an emulated processor: perl grub-core.pl IN OUT
#
# grub-mkimage always packs the i386-pc core with LZMA, and GRUB copies memory byte by byte; on the emulator these two
# cost more than the whole rest of the way to the kernel. So the core is stored as it is, and two routines are replaced.
# Where a routine is not found (another GRUB version), the original stays: slower, and as correct.
#
#   0x000  diskboot.img: loads the rest; the block list at 0x1f4 says where it lies
#   0x200  the unpacker: at 0x208 the packed size, at 0x20c the unpacked size
#   ...    the packed core: kernel.img, modules, prefix

use strict;
use warnings;
use constant { SECTOR => 512, LOAD_ADDRESS => 0x8200, BUFFER_ADDRESS => 0x70000 };

my ($in, $out) = @ARGV;
my $image = read_file($in);

# startup_raw.S: "movl uncompressed_size, %ecx ... call _LzmaDecodeA", source in %esi and destination in %edi.
my $call = qr/\xbe(....)\x57\x8b\x0d\x0c\x82\x00\x00\x8d\x1c\x0f\x51\K\xe8....(?=\x59\x5e)/s;
if ($image =~ /$call/) {
  my $unpacker_end = unpack('V', $1) - LOAD_ADDRESS + SECTOR;
  my $unpacker = substr($image, 0, $unpacker_end);
  my $size = unpack('V', substr($image, SECTOR + 12, 4));
  my $core = unpack_lzma(substr($image, $unpacker_end), $size);
  $unpacker =~ s/$call/\xfc\xf3\xa4\x90\x90/ or die;    # cld; rep movsb
  substr($unpacker, SECTOR + 8, 4) = pack('V', $size);
  $image = $unpacker . replace_memmove($core);
  my $sectors = int((length($image) - 1) / SECTOR);
  substr($image, 0x1f4, 12) = pack('VVvv', 2, 0, $sectors, 0x820);
} else {
  print "grub-core: the call of the unpacker was not found; core.img stays packed\n";
}

# diskboot.img reads through a buffer, which its own code must not reach.
die "Cannot build core.img: it has @{[length $image]} bytes and would overwrite its loader's buffer\n"
  if length($image) - SECTOR + LOAD_ADDRESS > BUFFER_ADDRESS;
open(my $file, '>:raw', $out) or die "Cannot write $out: $!\n";
print $file $image;
close($file) or die "Cannot write $out: $!\n";

sub read_file {
  my ($path) = @_;
  open(my $file, '<:raw', $path) or die "Cannot read $path: $!\n";
  local $/;
  return scalar <$file>;
}

# The stream has no header and no end mark: xz warns of the latter.
sub unpack_lzma {
  my ($packed, $size) = @_;
  open(my $file, '>:raw', "$out.lzma") or die "Cannot write $out.lzma: $!\n";
  print $file $packed;
  close($file);
  my $core = `xz --format=raw --lzma1=dict=64KiB,lc=3,lp=0,pb=2 --decompress --stdout <"$out.lzma" 2>/dev/null`;
  unlink("$out.lzma");
  die "Cannot unpack core.img: @{[length $core]} bytes of $size came out\n" if length($core) < $size;
  return substr($core, 0, $size);
}

# grub_memmove(%eax to, %edx from, %ecx size), as Debian's GRUB 2.06 has it, against one of the same length.
sub replace_memmove {
  my ($core) = @_;
  my $original = pack('H*', join('',
    '5589e5', '57', '56', '89d6', '39d0', '730b',        # if (to < from)
    '01c1', '89c7', '39f9', '7410', 'a4', 'ebf9',        #   byte by byte, upwards
    '83e901', '7208', '8a140e', '881408', 'ebf3',        # else byte by byte, downwards
    '5e', '5f', '5d', 'c3'));
  my $replacement = pack('H*', join('',
    '57',                  #    push %edi
    '56',                  #    push %esi
    '89d6',                #    mov  %edx,%esi
    '89c7',                #    mov  %eax,%edi
    '29d7',                #    sub  %edx,%edi
    '39cf',                #    cmp  %ecx,%edi          to - from < size (unsigned): upwards would overwrite
    '89c7',                #    mov  %eax,%edi
    '720c',                #    jb   1f
    '51',                  #    push %ecx
    'c1e902',              #    shr  $2,%ecx
    'f3a5',                #    rep movsl
    '59',                  #    pop  %ecx
    '83e103',              #    and  $3,%ecx
    'eb07',                #    jmp  2f
    'fd',                  # 1: std
    '01cf',                #    add  %ecx,%edi
    '01ce',                #    add  %ecx,%esi
    '4f',                  #    dec  %edi
    '4e',                  #    dec  %esi
    'f3a4',                # 2: rep movsb
    'fc',                  #    cld
    '5e',                  #    pop  %esi
    '5f',                  #    pop  %edi
    'c3'));                #    ret
  die "Cannot replace grub_memmove: the lengths differ\n" if length($original) != length($replacement);
  my $found = () = $core =~ /\Q$original\E/g;
  if ($found == 1) { $core =~ s/\Q$original\E/$replacement/ }
  else { print "grub-core: grub_memmove was found $found times; it stays as it is\n" }
  return $core;
}
