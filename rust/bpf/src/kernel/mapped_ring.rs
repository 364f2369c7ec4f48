//! The reader's end of one CPU's mapped ring. In: the shared memory. Out: stretches of committed records, each once, in order.
//!
//! The protocol is [`crate::compile::mapped`]'s, and its other end the bytecode that spile makes: no kernel code takes part.
//! Nobody is woken and nothing is waited for here: the reader polls.

use std::sync::atomic::{AtomicU64, Ordering};

use spile_core::error::Error;
use spile_core::event::Layouts;
use spile_core::source::stretch::{Behind, Extent, Stretch};

use super::map::Map;
use super::ring::Pass;
use super::sys::memory::Mapping;
use crate::compile::mapped::{DATA, HEAD, MOST, MappedRings, TAIL};

/// The reader's end of one ring. There must be only one for a ring.
#[derive(Debug)]
pub struct MappedRing {
    memory: Mapping,
    cpu: u16,
    /// Of data.
    size: u64,
    position: u64,
    /// The last whole time that was read.
    near: u64,
}

impl MappedRing {
    /// Maps the ring of a CPU.
    pub fn open(map: &Map, rings: MappedRings, cpu: u16) -> Result<Self, Error> {
        let stride = rings.stride();
        let failed = |error| Error::engine(format!("mapping a ring of {} bytes: {error}", rings.bytes));
        let memory =
            Mapping::new(map.fd(), stride as usize, true, i64::from(cpu) * i64::from(stride)).map_err(failed)?;
        Ok(Self { memory, cpu, size: rings.bytes.into(), position: 0, near: 0 })
    }

    /// Gives `each` the records that were reserved when the pass began, up to one that isn't committed yet, or until `each`
    /// says false: as many at a time as stand one behind the other, but no more than [`Stretch::MOST`]. What was read is free
    /// for programs to write to when the pass returns.
    pub fn pass(&mut self, layouts: &Layouts, mut each: impl FnMut(&Stretch<'_>) -> bool) -> Result<Pass, Error> {
        let end = self.word(HEAD.into()).load(Ordering::Acquire);
        let outcome = loop {
            if self.position == end {
                break Ok(Pass::Drained);
            }
            let place = self.position & (self.size - 1);
            // A record that begins right before the data's end goes on behind it.
            let there = (end - self.position).min(self.size - place + u64::from(MOST)) as usize;
            let most = there.min((self.size - place) as usize).min(Stretch::MOST);
            let place = u64::from(DATA) + place;
            let word = |offset: usize| self.word(place + offset as u64).load(Ordering::Acquire);
            let Extent { length, events, near, behind } = Extent::of(layouts, self.near, most, there, word);
            if length > 0 {
                let bytes = self.bytes(place, length);
                let goes_on = each(&Stretch { cpu: self.cpu, near: self.near, events, bytes });
                self.clear(place, length);
                self.near = near;
                self.position += length as u64;
                if !goes_on {
                    break Ok(Pass::Paused);
                }
            }
            match behind {
                Behind::Unasked => {}
                Behind::Uncommitted => break Ok(Pass::Busy),
                Behind::Unknown(id) => break Err(self.fault(format!("a record of the unknown event {id}"))),
                Behind::Short(size) => {
                    break Err(self.fault(format!("a record of {size} bytes where the ring has fewer")));
                }
            }
        };
        self.word(TAIL.into()).store(self.position, Ordering::Release);
        outcome
    }

    fn fault(&self, message: String) -> Error {
        Error::Stream { offset: self.position, message }
    }

    /// The word at an offset, a multiple of 8 that lies within the ring's part of the map: all that is asked for are the words
    /// of the first page, and those of records, which end before the room behind the data does.
    fn word(&self, offset: u64) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset + 8 <= self.memory.len() as u64);
        // SAFETY: by the above it is aligned and within the mapping, which lives as long as `self`; programs store to it with
        // single instructions, and we with atomic ones, but for what only we may touch.
        unsafe { self.memory.address().add(offset as usize).cast::<AtomicU64>().as_ref() }
    }

    /// The bytes of committed records.
    fn bytes(&self, place: u64, length: usize) -> &[u8] {
        debug_assert!(place as usize + length <= self.memory.len());
        // SAFETY: within the mapping, for the records end before the room behind the data does. No program reads or writes
        // them before the tail has gone by, which `pass` alone moves; the slice ends before that.
        unsafe { std::slice::from_raw_parts(self.memory.address().add(place as usize).as_ptr(), length) }
    }

    /// Writes zeros over records that have been read.
    fn clear(&mut self, place: u64, length: usize) {
        debug_assert!(place as usize + length <= self.memory.len());
        // SAFETY: as for `bytes`, of which no slice is left; that these are zeros is seen by whoever sees the tail go by.
        unsafe { self.memory.address().add(place as usize).write_bytes(0, length) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod program;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::program::{BYTES, Program, layouts, with_rings};
    use super::*;

    fn with_ring(test: impl FnOnce(&mut MappedRing, &mut Program, &Layouts)) {
        with_rings(1, |mut rings, mut programs| test(&mut rings[0], &mut programs[0], &layouts()));
    }

    fn read(ring: &mut MappedRing, layouts: &Layouts) -> (Result<Pass, Error>, Vec<(u16, u64)>) {
        let mut records = Vec::new();
        let pass = ring.pass(layouts, |stretch| {
            let before = records.len();
            records.extend(stretch.records(layouts).map(|record| (record.layout.schema.id, record.time)));
            assert_eq!(records.len() - before, stretch.events as usize);
            true
        });
        (pass, records)
    }

    #[test]
    fn records_come_once_and_memory_is_zero_behind_them() {
        with_ring(|ring, program, layouts| {
            let mut time = 5_u64 << 40;
            for round in 0..2000_u64 {
                time += 100_000_000 * (round % 37);
                assert!(program.send(1, time, &[]) && program.send(2, time + 3, &[round, 0, 0][..2]));
                assert_eq!(read(ring, layouts), (Ok(Pass::Drained), vec![(1, time), (2, time + 3)]));
            }
        });
    }

    #[test]
    fn a_full_ring_takes_nothing_more_and_then_again() {
        with_ring(|ring, program, layouts| {
            let time = 1 << 33;
            let sent = (0..).take_while(|_| program.send(1, time, &[])).count();
            assert_eq!(sent, (BYTES as usize - 16) / 8);
            let (pass, records) = read(ring, layouts);
            assert_eq!((pass, records.len()), (Ok(Pass::Drained), sent));
            assert!(program.send(1, time, &[]));
        });
    }

    #[test]
    fn a_record_that_is_not_committed_holds_up_those_behind_it() {
        with_ring(|ring, program, layouts| {
            assert!(program.send(1, 1 << 33, &[]));
            let place = program.reserve(8).unwrap();
            assert!(program.send(1, 1 << 33, &[]));
            assert_eq!(read(ring, layouts), (Ok(Pass::Busy), vec![(1, 1 << 33)]));
            program.set(place, 1 << 32);
            assert_eq!(read(ring, layouts).1.len(), 2);
        });
    }

    #[test]
    fn an_unknown_event_is_an_error_with_its_offset() {
        with_ring(|ring, program, layouts| {
            assert!(program.send(1, 1 << 33, &[]) && program.send(77, 1 << 33, &[]));
            let (pass, records) = read(ring, layouts);
            assert_eq!(records.len(), 1);
            assert!(matches!(&pass, Err(Error::Stream { offset: 24, message }) if message.contains("77")), "{pass:?}");
        });
    }

    proptest! {
        /// Interrupts' times stand out of order, gaps may be long, and the reader may stall: each time is told.
        #[test]
        fn times_are_whole(steps in prop::collection::vec((-5_000_000_i64..20_000_000_000, any::<bool>()), 1..200)) {
            let mut outcome = Ok(());
            with_ring(|ring, program, layouts| {
                let (mut clock, mut sent, mut got) = (1_u64 << 36, Vec::new(), Vec::new());
                for (step, reads) in steps {
                    let time = clock.wrapping_add_signed(step);
                    clock = clock.max(time);
                    if program.send(1, time, &[]) {
                        sent.push((1, time));
                    }
                    if reads {
                        got.extend(read(ring, layouts).1);
                    }
                }
                got.extend(read(ring, layouts).1);
                outcome = if got == sent { Ok(()) } else { Err(format!("{got:?} instead of {sent:?}")) };
            });
            prop_assert_eq!(outcome, Ok(()));
        }
    }
}
