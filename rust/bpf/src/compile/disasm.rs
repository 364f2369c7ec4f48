//! Reads bytecode back. In: instructions. Out: text as `bpftool` prints it, with maps by name.

use std::fmt::Write;

use super::{Insn, MapRef, insn};

const ALU: [&str; 14] = ["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "neg", "%=", "^=", "=", "s>>=", "end"];
const JUMPS: [&str; 14] = ["", "==", ">", ">=", "&", "!=", "s>", "s>=", "call", "exit", "<", "<=", "s<", "s<="];

/// One line an instruction; a 64-bit immediate's second half is shown with its first.
pub(super) fn disassemble(code: &[Insn], relocations: &[(usize, MapRef)]) -> String {
    let mut text = String::new();
    let mut index = 0;
    while let Some(&insn) = code.get(index) {
        let high = code.get(index + 1).map_or(0, |next| next.imm());
        let map = relocations.iter().find(|(at, _)| *at == index).map(|(_, map)| *map);
        let line = line(insn, high, index, map);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{index:4}: {line}");
        index += if insn.opcode() == insn::LD_IMM64 { 2 } else { 1 };
    }
    text
}

fn line(insn: Insn, high: i32, index: usize, map: Option<MapRef>) -> String {
    let (opcode, dst, src, offset, imm) = (insn.opcode(), insn.dst(), insn.src(), insn.offset(), insn.imm());
    let size = match opcode & 0x18 {
        0x00 => "u32",
        0x08 => "u16",
        0x10 => "u8",
        _ => "u64",
    };
    let operand = if opcode & insn::X != 0 { format!("r{src}") } else { imm.to_string() };
    let kind = usize::from(opcode >> 4);
    let target = index as i64 + 1 + i64::from(offset);
    match opcode & 0x07 {
        _ if opcode == insn::LD_IMM64 => match map {
            Some(map) if src == insn::PSEUDO_MAP_VALUE => format!("r{dst} = &{map:?}[0]"),
            Some(map) => format!("r{dst} = map {map:?}"),
            None => format!("r{dst} = {:#x} ll", u64::from(imm as u32) | u64::from(high as u32) << 32),
        },
        insn::LDX => format!("r{dst} = *({size} *)(r{src} {offset:+})"),
        insn::STX if opcode & 0xe0 == insn::ATOMIC && imm == insn::COMPARE_EXCHANGE => {
            format!("r0 = cmpxchg_64(r{dst} {offset:+}, r0, r{src})")
        }
        insn::STX => format!("*({size} *)(r{dst} {offset:+}) = r{src}"),
        insn::ST => format!("*({size} *)(r{dst} {offset:+}) = {imm}"),
        insn::ALU64 => format!("r{dst} {} {operand}", ALU.get(kind).unwrap_or(&"?")),
        insn::JMP => match opcode & 0xf0 {
            insn::JA => format!("goto {target}"),
            insn::CALL => format!("call {}", helper_name(imm)),
            insn::EXIT => "exit".into(),
            _ => format!("if r{dst} {} {operand} goto {target}", JUMPS.get(kind).unwrap_or(&"?")),
        },
        _ => format!(".quad {:#018x}", insn.0),
    }
}

fn helper_name(number: i32) -> String {
    let name = match number {
        1 => "map_lookup_elem",
        5 => "ktime_get_ns",
        8 => "get_smp_processor_id",
        14 => "get_current_pid_tgid",
        15 => "get_current_uid_gid",
        16 => "get_current_comm",
        35 => "get_current_task",
        67 => "get_stack",
        80 => "get_current_cgroup_id",
        113 => "probe_read_kernel",
        114 => "probe_read_user_str",
        115 => "probe_read_kernel_str",
        130 => "ringbuf_output",
        131 => "ringbuf_reserve",
        132 => "ringbuf_submit",
        _ => return format!("#{number}"),
    };
    format!("bpf_{name}#{number}")
}
