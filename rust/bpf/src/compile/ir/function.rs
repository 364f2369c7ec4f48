//! A program under construction: blocks, what is put into them, and what they need of the stack.

use super::{Arg, Base, BinOp, Block, Cmp, Helper, Inst, Operand, Slot, Terminator, Ty, VReg};

/// The content of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::compile) struct BlockData {
    pub insts: Vec<Inst>,
    pub end: Option<Terminator>,
}

/// A program under construction. Blocks are laid out in the order in which they were begun.
#[derive(Debug, Clone)]
pub(in crate::compile) struct Function {
    pub name: String,
    pub types: Vec<Ty>,
    /// Bytes of each stack buffer.
    pub slots: Vec<u32>,
    pub blocks: Vec<BlockData>,
    pub order: Vec<Block>,
}

impl Function {
    pub(in crate::compile) fn new(name: String) -> Self {
        let mut function = Self { name, types: Vec::new(), slots: Vec::new(), blocks: Vec::new(), order: Vec::new() };
        let entry = function.block();
        function.begin(entry);
        function
    }

    pub(in crate::compile) fn block(&mut self) -> Block {
        self.blocks.push(BlockData::default());
        Block(self.blocks.len() as u32 - 1)
    }

    pub(in crate::compile) fn reg(&mut self, ty: Ty) -> VReg {
        self.types.push(ty);
        VReg(self.types.len() as u32 - 1)
    }

    pub(in crate::compile) fn slot(&mut self, size: u32) -> Slot {
        self.slots.push(size);
        Slot(self.slots.len() as u32 - 1)
    }

    /// Instructions go to this block from now on.
    pub(in crate::compile) fn begin(&mut self, block: Block) {
        self.order.push(block);
    }

    pub(in crate::compile) fn data(&self, block: Block) -> &BlockData {
        &self.blocks[block.0 as usize]
    }

    pub(in crate::compile) fn ty(&self, reg: VReg) -> Ty {
        self.types[reg.0 as usize]
    }

    fn current(&mut self) -> &mut BlockData {
        let block = self.order[self.order.len() - 1];
        &mut self.blocks[block.0 as usize]
    }

    pub(in crate::compile) fn push(&mut self, inst: Inst) {
        self.current().insts.push(inst);
    }

    /// Ends the current block; what follows an end that is already there can't be reached and is dropped.
    pub(in crate::compile) fn end(&mut self, end: Terminator) {
        self.current().end.get_or_insert(end);
    }

    pub(in crate::compile) fn jump(&mut self, target: Block) {
        self.end(Terminator::Jump(target));
    }

    pub(in crate::compile) fn branch(
        &mut self,
        cmp: Cmp,
        left: VReg,
        right: impl Into<Operand>,
        then: Block,
        otherwise: Block,
    ) {
        self.end(Terminator::Branch { cmp, left, right: right.into(), then, otherwise });
    }

    /// Goes on in a new block unless the comparison holds.
    pub(in crate::compile) fn leave_if(&mut self, cmp: Cmp, left: VReg, right: impl Into<Operand>, away: Block) {
        let next = self.block();
        self.branch(cmp, left, right, away, next);
        self.begin(next);
    }

    pub(in crate::compile) fn constant(&mut self, value: i64) -> VReg {
        let dst = self.reg(Ty::Int);
        self.push(Inst::Const { dst, value });
        dst
    }

    pub(in crate::compile) fn copy(&mut self, src: VReg) -> VReg {
        let dst = self.reg(self.ty(src));
        self.push(Inst::Copy { dst, src });
        dst
    }

    pub(in crate::compile) fn binary(&mut self, op: BinOp, left: VReg, right: impl Into<Operand>) -> VReg {
        let dst = self.reg(self.ty(left));
        self.push(Inst::Binary { op, dst, left, right: right.into() });
        dst
    }

    /// `reg = reg op right`.
    pub(in crate::compile) fn update(&mut self, op: BinOp, reg: VReg, right: impl Into<Operand>) {
        self.push(Inst::Binary { op, dst: reg, left: reg, right: right.into() });
    }

    pub(in crate::compile) fn sign_extend(&mut self, src: VReg, bits: u8) -> VReg {
        let dst = self.reg(Ty::Int);
        self.push(Inst::SignExtend { dst, src, bits });
        dst
    }

    pub(in crate::compile) fn number(&mut self, src: VReg) -> VReg {
        let dst = self.reg(Ty::Int);
        self.push(Inst::Number { dst, src });
        dst
    }

    pub(in crate::compile) fn load(&mut self, base: impl Into<Base>, offset: u32, size: u8) -> VReg {
        let dst = self.reg(Ty::Int);
        self.push(Inst::Load { dst, base: base.into(), offset: offset as i32, size });
        dst
    }

    pub(in crate::compile) fn store(
        &mut self,
        base: impl Into<Base>,
        offset: u32,
        size: u8,
        value: impl Into<Operand>,
    ) {
        self.push(Inst::Store { base: base.into(), offset: offset as i32, size, value: value.into() });
    }

    pub(in crate::compile) fn call(&mut self, helper: Helper, args: &[Arg], ty: Ty) -> VReg {
        let dst = self.reg(ty);
        self.push(Inst::Call { dst: Some(dst), helper, args: args.to_vec() });
        dst
    }

    pub(in crate::compile) fn call_for_effect(&mut self, helper: Helper, args: &[Arg]) {
        self.push(Inst::Call { dst: None, helper, args: args.to_vec() });
    }

    /// Leads ends past blocks that only jump on, and drops from the order what nothing reaches: the kernel refuses it.
    pub(in crate::compile) fn prune(&mut self) {
        for block in self.order.clone() {
            let mut end = self.data(block).end;
            match &mut end {
                Some(Terminator::Jump(target)) => *target = self.destination(*target),
                Some(Terminator::Branch { then, otherwise, .. }) => {
                    (*then, *otherwise) = (self.destination(*then), self.destination(*otherwise));
                }
                Some(Terminator::Exit) | None => {}
            }
            self.blocks[block.0 as usize].end = end;
        }
        let mut reached = vec![false; self.blocks.len()];
        let mut work: Vec<Block> = self.order.first().copied().into_iter().collect();
        while let Some(block) = work.pop() {
            if !std::mem::replace(&mut reached[block.0 as usize], true) {
                work.extend(self.data(block).end.into_iter().flat_map(Terminator::targets));
            }
        }
        self.order.retain(|block| reached[block.0 as usize]);
    }
}

impl Function {
    /// Where a jump to this block ends up; an empty loop ends up in itself.
    fn destination(&self, mut block: Block) -> Block {
        for _ in 0..self.blocks.len() {
            match self.data(block) {
                BlockData { insts, end: Some(Terminator::Jump(next)) } if insts.is_empty() => block = *next,
                _ => break,
            }
        }
        block
    }
}
