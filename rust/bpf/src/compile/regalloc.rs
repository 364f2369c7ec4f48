//! Register allocation by linear scan. In: verified IR. Out: a [`Location`] for every virtual register.
//!
//! A value that a call interrupts lives in r6–r9 or on the stack, every other one may also live in r1–r4; r0 and r5 are
//! the emitter's own. When registers run out, the value with the fewest uses for its length goes to the stack, for all
//! of its life; uses within loops weigh more.

use super::ir::{Calls, Function, Inst, Terminator, VReg};

/// Where a virtual register lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    /// A register.
    Reg(u8),
    /// Eight bytes at this offset from the frame pointer.
    Stack(i16),
}

/// Every virtual register's and every slot's place.
#[derive(Debug)]
pub(super) struct Allocation {
    pub locations: Vec<Location>,
    /// Offsets of the slots from the frame pointer.
    pub slots: Vec<i16>,
}

/// What the kernel allows.
const STACK: i16 = 512;
const CALLEE_SAVED: [u8; 4] = [6, 7, 8, 9];
const ANY: [u8; 8] = [4, 3, 2, 1, 6, 7, 8, 9];

#[derive(Debug, Clone, Copy)]
struct Interval {
    reg: VReg,
    start: u32,
    end: u32,
    weight: f64,
    crosses_call: bool,
    hint: Option<VReg>,
}

/// Gives every virtual register a place, or says that the stack is too small.
pub(super) fn allocate(function: &Function) -> Result<Allocation, String> {
    let mut intervals = intervals(function);
    intervals.sort_by_key(|interval| interval.start);
    let mut registers: Vec<Option<u8>> = vec![None; function.types.len()];
    let mut active: Vec<Interval> = Vec::new();
    let mut spilled: Vec<Interval> = Vec::new();
    for interval in intervals {
        active.retain(|other| other.end >= interval.start);
        let pool: &[u8] = if interval.crosses_call { &CALLEE_SAVED } else { &ANY };
        let of = |reg: VReg, registers: &[Option<u8>]| registers[reg.0 as usize];
        let is_taken = |reg: u8| active.iter().any(|other| of(other.reg, &registers) == Some(reg));
        let hint = interval.hint.and_then(|hint| of(hint, &registers));
        let free = hint.into_iter().chain(pool.iter().copied()).find(|reg| pool.contains(reg) && !is_taken(*reg));
        if let Some(free) = free {
            registers[interval.reg.0 as usize] = Some(free);
            active.push(interval);
            continue;
        }
        let candidates = active.iter().enumerate().filter(|(_, other)| {
            of(other.reg, &registers).is_some_and(|reg| pool.contains(&reg)) && other.weight < interval.weight
        });
        match candidates.min_by(|(_, a), (_, b)| a.weight.total_cmp(&b.weight)).map(|(index, _)| index) {
            Some(victim) => {
                let victim = active.swap_remove(victim);
                registers[interval.reg.0 as usize] = registers[victim.reg.0 as usize].take();
                spilled.push(victim);
                active.push(interval);
            }
            None => spilled.push(interval),
        }
    }
    place(function, &registers, spilled)
}

/// Lays out the stack: slots first, then the spilled values, which share places when their lives don't meet.
fn place(function: &Function, registers: &[Option<u8>], mut spilled: Vec<Interval>) -> Result<Allocation, String> {
    let mut top: i64 = 0;
    let slots = function.slots.iter().map(|size| {
        top -= i64::from(size.next_multiple_of(8));
        top as i16
    });
    let slots: Vec<i16> = slots.collect();
    let mut locations: Vec<Location> = registers.iter().map(|reg| Location::Reg(reg.unwrap_or(0))).collect();
    let mut places: Vec<(i64, u32)> = Vec::new();
    spilled.sort_by_key(|interval| interval.start);
    for interval in spilled {
        let free = places.iter_mut().find(|(_, end)| *end < interval.start);
        let offset = match free {
            Some((offset, end)) => {
                *end = interval.end;
                *offset
            }
            None => {
                top -= 8;
                places.push((top, interval.end));
                top
            }
        };
        locations[interval.reg.0 as usize] = Location::Stack(offset as i16);
    }
    if top < -i64::from(STACK) {
        return Err(format!("{} bytes of stack are needed, and the kernel has {STACK}", -top));
    }
    Ok(Allocation { locations, slots })
}

/// From the first place where a register may hold a value to the last; reads are at even points, writes at odd ones.
fn intervals(function: &Function) -> Vec<Interval> {
    let live_in = live_in(function);
    let mut all: Vec<Interval> = (0..function.types.len() as u32)
        .map(|reg| Interval { reg: VReg(reg), start: u32::MAX, end: 0, weight: 0.0, crosses_call: false, hint: None })
        .collect();
    let mut calls = Vec::new();
    let depths = loop_depths(function);
    let mut point = 0;
    for &block in &function.order {
        let depth_weight = 10_f64.powi(depths[block.0 as usize]);
        let mut touch = |reg: VReg, at: u32, uses: f64| {
            let interval = &mut all[reg.0 as usize];
            interval.start = interval.start.min(at);
            interval.end = interval.end.max(at);
            interval.weight += uses * depth_weight;
        };
        let data = function.data(block);
        for (index, _) in live_in[block.0 as usize].iter().enumerate().filter(|(_, live)| **live) {
            touch(VReg(index as u32), point, 0.0);
        }
        for inst in &data.insts {
            inst.uses().into_iter().for_each(|reg| touch(reg, point, 1.0));
            if let Some(times) = inst.calls() {
                calls.push(point);
                if times == Calls::Often {
                    // Its operands are read again behind its first call, so they live across it.
                    inst.uses().into_iter().for_each(|reg| touch(reg, point + 1, 1.0));
                }
            }
            inst.def().into_iter().for_each(|reg| touch(reg, point + 1, 1.0));
            point += 2;
        }
        for reg in data.end.into_iter().flat_map(Terminator::uses) {
            touch(reg, point, 1.0);
        }
        for target in data.end.into_iter().flat_map(Terminator::targets) {
            for (index, _) in live_in[target.0 as usize].iter().enumerate().filter(|(_, live)| **live) {
                touch(VReg(index as u32), point + 1, 0.0);
            }
        }
        point += 2;
        for inst in &data.insts {
            if let Inst::Copy { dst, src } | Inst::Binary { dst, left: src, .. } | Inst::SignExtend { dst, src, .. } =
                inst
            {
                all[dst.0 as usize].hint.get_or_insert(*src);
            }
        }
    }
    all.retain(|interval| interval.start != u32::MAX);
    for interval in &mut all {
        interval.crosses_call = calls.iter().any(|call| interval.start <= *call && interval.end > *call);
        interval.weight /= f64::from(interval.end - interval.start + 1);
    }
    all
}

/// Registers whose values are still wanted at each block's beginning.
fn live_in(function: &Function) -> Vec<Vec<bool>> {
    let mut live = vec![vec![false; function.types.len()]; function.blocks.len()];
    let mut changed = true;
    while std::mem::take(&mut changed) {
        for &block in function.order.iter().rev() {
            let data = function.data(block);
            let mut now = vec![false; function.types.len()];
            for target in data.end.into_iter().flat_map(Terminator::targets) {
                for (into, from) in now.iter_mut().zip(&live[target.0 as usize]) {
                    *into |= *from;
                }
            }
            data.end.into_iter().flat_map(Terminator::uses).for_each(|reg| now[reg.0 as usize] = true);
            for inst in data.insts.iter().rev() {
                inst.def().into_iter().for_each(|reg| now[reg.0 as usize] = false);
                inst.uses().into_iter().for_each(|reg| now[reg.0 as usize] = true);
            }
            if live[block.0 as usize] != now {
                live[block.0 as usize] = now;
                changed = true;
            }
        }
    }
    live
}

/// How many loops each block is within: those blocks that a jump backwards spans.
fn loop_depths(function: &Function) -> Vec<i32> {
    let mut depths = vec![0; function.blocks.len()];
    let position = |block| function.order.iter().position(|other| *other == block);
    for (end, &block) in function.order.iter().enumerate() {
        for target in function.data(block).end.into_iter().flat_map(Terminator::targets) {
            if let Some(start) = position(target).filter(|start| *start <= end) {
                function.order[start..=end].iter().for_each(|inside| depths[inside.0 as usize] += 1);
            }
        }
    }
    depths
}
