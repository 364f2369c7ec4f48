//! Where a function's arguments and its result are in the context of a kprobe, `struct pt_regs`: the calling convention.

/// Offsets in the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Of the registers that carry arguments, in their order.
    pub arguments: &'static [u32],
    /// Of the one that carries the result.
    pub result: u32,
    /// Of the stack pointer.
    pub stack_pointer: u32,
    /// Where, from the stack pointer at a function's entry, further arguments begin.
    pub arguments_on_stack: u32,
    /// What a function's return takes off the stack.
    pub popped_by_return: u32,
}

/// System V's convention: rdi, rsi, rdx, rcx, r8, r9; rax. The return address is on the stack.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the other architecture's"))]
const X86_64: Registers = Registers {
    arguments: &[112, 104, 96, 88, 72, 64],
    result: 80,
    stack_pointer: 152,
    arguments_on_stack: 8,
    popped_by_return: 8,
};

/// AAPCS64: x0 to x7; x0.
#[cfg_attr(not(target_arch = "aarch64"), expect(dead_code, reason = "the other architecture's"))]
const AARCH64: Registers = Registers {
    arguments: &[0, 8, 16, 24, 32, 40, 48, 56],
    result: 0,
    stack_pointer: 248,
    arguments_on_stack: 0,
    popped_by_return: 0,
};

/// The convention of the machine that this is built for; none where it isn't known.
#[cfg(target_arch = "x86_64")]
pub const REGISTERS: Option<Registers> = Some(X86_64);
/// The convention of the machine that this is built for; none where it isn't known.
#[cfg(target_arch = "aarch64")]
pub const REGISTERS: Option<Registers> = Some(AARCH64);
/// The convention of the machine that this is built for; none where it isn't known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub const REGISTERS: Option<Registers> = None;
