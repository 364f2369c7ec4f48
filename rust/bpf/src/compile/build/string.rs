//! Strings: comparing them, and where their bytes come from.
//!
//! A literal is compared in words, its NUL included, so that what lies behind the string's end is never looked at.

use spile_core::error::Error;
use spile_core::layout::FieldType;
use spile_core::spec::{Condition, Context, Expr};

use super::super::access::{Access, Leaf};
use super::super::ir::{Arg, Base, BinOp, Block, Cmp, Helper, Inst, Ty, VReg};
use super::super::{ProgramKind, SCRATCH_SIZE};
use super::condition::Exits;
use super::span::KeptBytes;
use super::{BUFFER, Build};

/// What a string should be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    Whole(&'a [u8]),
    Prefix(&'a [u8]),
}

/// A string's bytes, in place.
struct Bytes {
    base: Base,
    offset: u32,
    /// No more than these belong to it; a NUL may end it earlier.
    size: u32,
}

impl Wanted<'_> {
    fn literal(self) -> usize {
        match self {
            Self::Whole(literal) | Self::Prefix(literal) => literal.len(),
        }
    }

    /// The bytes that must be at the beginning of an array of `size` bytes, if that is possible at all.
    fn bytes(self, size: usize) -> Option<Vec<u8>> {
        match self {
            Self::Whole(literal) if literal.len() < size => Some([literal, &[0]].concat()),
            Self::Whole(literal) | Self::Prefix(literal) if literal.len() <= size => Some(literal.to_vec()),
            _ => None,
        }
    }
}

/// The size of the copy that a comparison with these needs: the longest, its NUL, and one more byte to see it is cut.
fn needed(wanted: &[Wanted<'_>]) -> u32 {
    let longest = wanted.iter().map(|wanted| wanted.literal()).max().unwrap_or(0);
    (longest + 2).next_multiple_of(8) as u32
}

/// The largest copy that any string in a condition needs, comm and strings in the context excepted.
fn largest(condition: &Condition) -> u32 {
    match condition {
        Condition::StringIn { choices, .. } => {
            needed(&choices.iter().map(|choice| Wanted::Whole(choice)).collect::<Vec<_>>())
        }
        Condition::StartsWith { prefix, .. } => needed(&[Wanted::Prefix(prefix)]),
        Condition::And { terms } | Condition::Or { terms } => terms.iter().map(largest).max().unwrap_or(0),
        Condition::Not { term } => largest(term),
        Condition::Compare { .. } | Condition::IsIn { .. } => 0,
    }
}

impl Build<'_> {
    /// Takes scratch where the stack is too small for the strings of a condition.
    pub(super) fn prepare_strings(&mut self, condition: &Condition) {
        if largest(condition) > BUFFER {
            self.scratch();
        }
    }

    /// Compares a string with literals.
    pub(super) fn string_is(&mut self, value: &Expr, wanted: &[Wanted<'_>], exits: Exits) -> Result<(), Error> {
        let bytes = self.string_bytes(value, needed(wanted), exits.fault)?;
        for literal in wanted.iter().filter_map(|wanted| wanted.bytes(bytes.size as usize)) {
            let next = self.f.block();
            self.compare_bytes(&bytes, &literal, next);
            self.f.jump(exits.yes);
            self.f.begin(next);
        }
        self.f.jump(exits.no);
        Ok(())
    }

    /// Leaves for `no` at the first word that differs.
    fn compare_bytes(&mut self, bytes: &Bytes, literal: &[u8], no: Block) {
        let mut at = 0;
        while at < literal.len() {
            let rest = &literal[at..];
            let offset = bytes.offset + at as u32;
            let size = [8, 4, 2, 1].into_iter().find(|size| *size <= rest.len() && offset.is_multiple_of(*size as u32));
            let size = size.unwrap_or(1);
            let mut word = [0; 8];
            word[..size].copy_from_slice(&rest[..size]);
            let found = self.f.load(bytes.base, offset, size as u8);
            self.f.leave_if(Cmp::Ne, found, i64::from_le_bytes(word), no);
            at += size;
        }
    }

    /// Where a string's first `needed` bytes are, copied if they must be.
    fn string_bytes(&mut self, value: &Expr, needed: u32, fault: Block) -> Result<Bytes, Error> {
        match value {
            Expr::Context { name: Context::Comm } => {
                self.f.call_for_effect(Helper::CurrentComm, &[Arg::Slot(self.buffer), Arg::Imm(16)]);
                Ok(Bytes { base: self.buffer.into(), offset: 0, size: 16 })
            }
            Expr::Field { path } => match self.request.fields.resolve(path)? {
                Access::CtxString { offset, size } if self.request.kind == ProgramKind::Tracepoint => {
                    Ok(Bytes { base: self.context.into(), offset, size })
                }
                Access::CtxDynString { offset } => {
                    let (address, _) = self.data_location(offset);
                    self.copied(address, needed, Some(Helper::ProbeReadKernelStr), fault)
                }
                Access::Read { ctx_offset, derefs, offset, leaf: Leaf::String { size } } => {
                    let pointer = self.follow(ctx_offset, &derefs, fault)?;
                    let address = self.displaced(pointer, offset);
                    self.copied(address, needed.min(size), Some(Helper::ProbeReadKernel), fault)
                }
                _ => self.refuse("this field is not a string; string(field) reads the string that it points to"),
            },
            Expr::String { pointer, limit } => {
                let pointer = self.int(pointer, fault)?;
                let pointer = self.in_reg(pointer);
                self.copied(pointer, needed.min(*limit), None, fault)
            }
            Expr::AtStart { value } => {
                let KeptBytes { base, offset, ty } = self.kept_bytes(value, fault)?;
                let size = match ty {
                    FieldType::FixedString { size } => size.into(),
                    FieldType::String { limit } => limit,
                    _ => return self.refuse("this was no string at the start"),
                };
                Ok(Bytes { base, offset, size })
            }
            _ => self.refuse("a number is compared with a string; string(pointer) reads the string behind a pointer"),
        }
    }

    /// Copies by `helper`, or, where it isn't known whose address it is, by the one for that address.
    fn copied(&mut self, address: VReg, size: u32, helper: Option<Helper>, fault: Block) -> Result<Bytes, Error> {
        let most = SCRATCH_SIZE - self.kept_size;
        if size > most {
            return self.refuse(format!("a literal is longer than {most} bytes"));
        }
        let (base, to) = match &self.scratch {
            Some(scratch) if size > BUFFER => (Base::Reg(scratch.base), Arg::Reg(scratch.base)),
            _ => (Base::Slot(self.buffer), Arg::Slot(self.buffer)),
        };
        let result = match helper {
            Some(helper) => self.f.call(helper, &[to, Arg::Imm(i64::from(size)), Arg::Reg(address)], Ty::Int),
            None => self.read_string(to, size, address),
        };
        self.f.leave_if(Cmp::LtS, result, 0, fault);
        Ok(Bytes { base, offset: 0, size })
    }

    /// Copies a string from kernel or user memory, as its address tells; gives its length with the NUL, or an error.
    pub(super) fn read_string(&mut self, to: Arg, size: u32, address: VReg) -> VReg {
        let (kernel, user, done) = (self.f.block(), self.f.block(), self.f.block());
        let result = self.f.reg(Ty::Int);
        let args = vec![to, Arg::Imm(i64::from(size)), Arg::Reg(address)];
        self.f.branch(Cmp::LtS, address, 0, kernel, user);
        for (block, helper) in [(user, Helper::ProbeReadUserStr), (kernel, Helper::ProbeReadKernelStr)] {
            self.f.begin(block);
            self.f.push(Inst::Call { dst: Some(result), helper, args: args.clone() });
            self.f.jump(done);
        }
        self.f.begin(done);
        result
    }

    /// The address and the length of what a `__data_loc` word describes.
    pub(super) fn data_location(&mut self, offset: u32) -> (VReg, VReg) {
        let word = self.f.load(self.context, offset, 4);
        let length = self.f.binary(BinOp::ShrU, word, 16);
        let from_start = self.f.binary(BinOp::And, word, 0xffff);
        let address = self.f.binary(BinOp::Add, self.context, from_start);
        (address, length)
    }
}
