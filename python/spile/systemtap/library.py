"""Functions that generated scripts call, in SystemTap's language. None needs guru mode, for none holds C.

A script takes those that it calls. Their arithmetic is that of docs/semantics.md; a test runs it against Python's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Function:
    """A function's text, and the others that it calls."""

    text: str
    calls: tuple[str, ...] = ()


FUNCTIONS: dict[str, Function] = {
    "spile_below": Function(
        """\
# a < b, both unsigned.
function spile_below:long (a:long, b:long) { return (a ^ (1 << 63)) < (b ^ (1 << 63)) }"""
    ),
    "spile_below_signed": Function(
        """\
# a < b, a unsigned and b signed.
function spile_below_signed:long (a:long, b:long) { return b >= 0 && (a ^ (1 << 63)) < (b ^ (1 << 63)) }"""
    ),
    "spile_signed_below": Function(
        """\
# a < b, a signed and b unsigned.
function spile_signed_below:long (a:long, b:long) { return a < 0 || (a ^ (1 << 63)) < (b ^ (1 << 63)) }"""
    ),
    "spile_same": Function(
        """\
# a == b, a signed and b unsigned.
function spile_same:long (a:long, b:long) { return a >= 0 && a == b }"""
    ),
    "spile_quotient": Function(
        """\
# a // b as in Python, but by 0 it is 0. Dividing -2**63 by -1 is left to the subtraction, which wraps.
function spile_quotient:long (a:long, b:long) {
  if (b == 0) return 0
  if (b == -1) return 0 - a
  q = a / b
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q
}"""
    ),
    "spile_remainder": Function(
        """\
# a % b as in Python, with the sign of b, but by 0 it is 0.
function spile_remainder:long (a:long, b:long) {
  if (b == 0 || b == -1) return 0
  r = a % b
  return r != 0 && (r < 0) != (b < 0) ? r + b : r
}"""
    ),
    "spile_unsigned_quotient": Function(
        """\
# a // b, both unsigned; by 0 it is 0.
function spile_unsigned_quotient:long (a:long, b:long) {
  if (b == 0) return 0
  if (b < 0) return !spile_below(a, b)
  if (a >= 0) return a / b
  q = (((a >> 1) & ~(1 << 63)) / b) << 1
  return spile_below(a - q * b, b) ? q : q + 1
}""",
        ("spile_below",),
    ),
    "spile_unsigned_remainder": Function(
        """\
# a % b, both unsigned; by 0 it is 0.
function spile_unsigned_remainder:long (a:long, b:long) {
  if (b == 0) return 0
  return a - spile_unsigned_quotient(a, b) * b
}""",
        ("spile_unsigned_quotient",),
    ),
    "spile_shift_left": Function(
        """\
# a << n; 64 and more, and less than 0, shift everything out.
function spile_shift_left:long (a:long, n:long) { return n >= 0 && n < 64 ? a << n : 0 }"""
    ),
    "spile_shift_right": Function(
        """\
# a >> n, a signed; 64 and more, and less than 0, leave nothing but signs.
function spile_shift_right:long (a:long, n:long) { return a >> (n >= 0 && n < 64 ? n : 63) }"""
    ),
    "spile_logical_shift_right": Function(
        """\
# a >> n, a unsigned.
function spile_logical_shift_right:long (a:long, n:long) {
  if (n < 0 || n > 63) return 0
  return n == 0 ? a : (a >> n) & ~((1 << 63) >> (n - 1))
}"""
    ),
    "spile_error": Function(
        """\
# The error number that a return value stands for, or 0.
function spile_error:long (value:long) { return value < 0 && value >= -4095 ? 0 - value : 0 }"""
    ),
    "spile_sum_fits": Function(
        """\
# Whether a + b has 64 bits: where it has more, its sign is neither's.
function spile_sum_fits:long (a:long, b:long) { return ((a ^ (a + b)) & (b ^ (a + b))) >= 0 }"""
    ),
    "spile_unsigned_sum_fits": Function(
        """\
# Whether a + b has 64 bits, all unsigned.
function spile_unsigned_sum_fits:long (a:long, b:long) { return !spile_below(a + b, a) }""",
        ("spile_below",),
    ),
    "spile_bit_length": Function(
        """\
# How many bits an unsigned number has.
function spile_bit_length:long (n:long) {
  if (n < 0) return 64
  bits = 0
  if (n >= 1 << 32) { bits = 32; n = n >> 32 }
  if (n >= 1 << 16) { bits += 16; n = n >> 16 }
  if (n >= 1 << 8) { bits += 8; n = n >> 8 }
  if (n >= 1 << 4) { bits += 4; n = n >> 4 }
  if (n >= 1 << 2) { bits += 2; n = n >> 2 }
  return n > 1 ? bits + 2 : bits + n
}"""
    ),
    "spile_log2": Function(
        """\
# The bin of a signed number, by powers of two: that of its size, with its sign. The size of -2**63 is its own bits.
function spile_log2:long (n:long) { return n < 0 ? 0 - spile_bit_length(0 - n) : spile_bit_length(n) }""",
        ("spile_bit_length",),
    ),
    "spile_log_linear_size": Function(
        """\
# The bin of an unsigned number, of 64 in each power of two.
function spile_log_linear_size:long (n:long) {
  if (n >= 0 && n < 128) return n
  shift = spile_bit_length(n) - 7
  return (shift << 6) + ((n >> shift) & 127)
}""",
        ("spile_bit_length",),
    ),
    "spile_log_linear": Function(
        """\
# The bin of a signed number; those of negative ones are the complements.
function spile_log_linear:long (n:long) {
  return n < 0 ? -1 - spile_log_linear_size(0 - n) : spile_log_linear_size(n)
}""",
        ("spile_log_linear_size",),
    ),
    "spile_string": Function(
        """\
# The string at an address, at most so many bytes. The kernel's addresses are those below 0.
function spile_string:string (address:long, most:long) {
  if (address < 0) return kernel_string_n(address, most)
  return user_string_n(address, most)
}"""
    ),
    "spile_backtrace": Function(
        """\
# The stack. Where the kernel's debugging information is missing, the probed function stands there twice.
function spile_backtrace:string () {
  addresses = backtrace()
  if (substr(addresses, 0, 18) == substr(addresses, 19, 18)) return substr(addresses, 19, strlen(addresses))
  return addresses
}"""
    ),
    "spile_frames": Function(
        """\
# How many addresses of a backtrace to keep: at most so many, and the last not twice. Each of the kernel's has 19
# characters; where something else is among them the stack was not walked.
function spile_frames:long (addresses:string, most:long) {
  if (strlen(addresses) % 19 != 0) return 0
  n = strlen(addresses) / 19
  if (n > 1 && substr(addresses, 19 * (n - 1), 18) == substr(addresses, 19 * (n - 2), 18)) n--
  return n < most ? n : most
}"""
    ),
    "spile_ubacktrace": Function(
        """\
# The process and its stack.
function spile_ubacktrace:string () { return sprintf("0x%x %s", pid(), ubacktrace()) }"""
    ),
    "spile_user_frames": Function(
        """\
# How many words of a process and its stack to keep, at most so many; none where nothing was walked. Addresses are as
# long as they are, and what is none is a remark of SystemTap's.
function spile_user_frames:long (words:string, most:long) {
  n = 0
  token = tokenize(words, " ")
  while (n < most && substr(token, 0, 2) == "0x") { n++; token = tokenize(" ") }
  return n > 1 ? n : 0
}"""
    ),
    "spile_print_frames": Function(
        """\
# Prints the first n addresses of a backtrace, and gives their sum.
function spile_print_frames:long (addresses:string, n:long) {
  sum = 0
  token = tokenize(addresses, " ")
  for (i = 0; i < n; i++) {
    address = strtol(token, 16)
    printf("%8b", address)
    sum += address
    token = tokenize(" ")
  }
  return sum
}"""
    ),
    "spile_ready": Function(
        """\
# Prints a frame of 24 bytes: the script is ready.
function spile_ready () { printf("%2b%2b%1b%1b%4b%8b%4b%2b", 0x5053, 2, 0, 1, 0x5350494c + 2 + 1, 0, 0, 0) }"""
    ),
    "spile_no_rows": Function(
        """\
# Prints a frame of 40 bytes: no rows were written of a table that there isn't.
function spile_no_rows () {
  printf("%2b%2b%1b%1b%1b%1b%8b%8b%4b%8b%4b", 0x5053, 20, 0, 4, 255, 255, 0, 0, 0x5350494c + 20 + 4 + 255 + 255, 0, 0)
}"""
    ),
    "spile_fill": Function(
        """\
# Prints so many bytes of frames that say nothing new: a multiple of 8, at least 80.
function spile_fill (bytes:long) {
  for (left = bytes; left % 24 != 0; left -= 40) spile_no_rows()
  for (; left > 0; left -= 24) spile_ready()
}""",
        ("spile_ready", "spile_no_rows"),
    ),
    "spile_even": Function(
        """\
# A print holds so many bytes of frames. Each frame is 8 more than a multiple of 16 long, and so must the print be.
function spile_even (used:long) { if (used > 0 && used % 16 == 0) spile_ready() }""",
        ("spile_ready",),
    ),
    "spile_room": Function(
        """\
# Bytes used of the print buffer, once there is room for a frame of so many more. Where there is none, the buffer is
# filled up to 8,184 bytes: the next frame sends it, and its length is one that the transport doesn't trip over.
function spile_room:long (used:long, more:long) {
  if (used + more + 88 <= 8184) return used
  spile_fill(8184 - used)
  return 0
}""",
        ("spile_fill",),
    ),
}
