//! The ring of this CPU. In: a helper and its arguments behind the ring. Out: its result.
//!
//! With few CPUs the program branches on the CPU's number and names each ring by an immediate; with more it looks the
//! ring up in an array of maps.

use super::super::ir::{Arg, Block, Cmp, Helper, Inst, Ty, VReg};
use super::super::{MAX_IMMEDIATE_RINGS, MapRef};
use super::Build;

/// `BPF_RB_NO_WAKEUP`: readers poll.
pub(super) const NO_WAKEUP: Arg = Arg::Imm(1);

#[derive(Debug, Clone, Copy)]
pub(super) enum Ring {
    Only,
    OfCpu(VReg),
    At(VReg),
}

impl Build<'_> {
    /// Finds this CPU's ring. What is found is used by [`Self::ring_call`] before any other call.
    pub(super) fn ring(&mut self, missing: Block) -> Ring {
        if self.request.options.cpus <= 1 {
            return Ring::Only;
        }
        let cpu = self.f.call(Helper::SmpProcessorId, &[], Ty::Int);
        if self.request.options.cpus <= MAX_IMMEDIATE_RINGS {
            return Ring::OfCpu(cpu);
        }
        let ring = self.lookup(MapRef::RingArray, cpu);
        self.f.leave_if(Cmp::Eq, ring, 0, missing);
        Ring::At(ring)
    }

    /// Calls a helper whose first argument is a ring. A CPU beyond the last uses the last one's.
    pub(super) fn ring_call(&mut self, ring: Ring, helper: Helper, rest: &[Arg], ty: Ty) -> VReg {
        let result = self.f.reg(ty);
        let call = |ring: Arg| {
            let args = [&[ring], rest].concat();
            Inst::Call { dst: Some(result), helper, args }
        };
        match ring {
            Ring::Only => self.f.push(call(Arg::Map(MapRef::Ring(0)))),
            Ring::At(ring) => self.f.push(call(Arg::Reg(ring))),
            Ring::OfCpu(cpu) => {
                let done = self.f.block();
                for index in 0..self.request.options.cpus {
                    let next = self.f.block();
                    if index + 1 < self.request.options.cpus {
                        let here = self.f.block();
                        self.f.branch(Cmp::Eq, cpu, i64::from(index), here, next);
                        self.f.begin(here);
                    }
                    self.f.push(call(Arg::Map(MapRef::Ring(index))));
                    self.f.jump(done);
                    self.f.begin(next);
                }
                // The last `next` has no way in.
                self.f.end(super::Terminator::Exit);
                self.f.begin(done);
            }
        }
        result
    }
}
