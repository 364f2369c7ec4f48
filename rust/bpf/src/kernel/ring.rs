//! The reader's end of a BPF ring buffer. In: the shared memory. Out: each committed record, once, in order.
//!
//! The protocol, by kernel/bpf/ringbuf.c at v6.12 (the same since it came with 5.8, commit 457f44363a88):
//!
//! * the map's descriptor maps as one page that holds the consumer's position (writable), then one page that holds the
//!   producer's, then the data, twice in a row, so that no record is ever seen in two parts (`bpf_ringbuf_mmap_kern`);
//! * positions only grow; modulo the size they are places. The producer publishes its own with `smp_store_release`
//!   (`__bpf_ringbuf_reserve`), after it has marked the record's header busy: an acquire load of the position therefore
//!   sees at least "busy" in every header before it;
//! * `bpf_ringbuf_commit` replaces the header by an `xchg`, a full barrier, after the record's bytes are written: an
//!   acquire load that sees "not busy" therefore sees the bytes;
//! * the reader frees records by a release store of its position, which keeps its reads of the bytes before the store.
//!
//! Nobody is woken and nothing is waited for here: the reader polls.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aya_obj::generated::{BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ};
use spile_core::error::Error;

use super::map::Map;
use super::sys::memory::{Mapping, page_size};

const HEADER: u64 = BPF_RINGBUF_HDR_SZ as u64;

/// The reader's end of one ring. There must be only one for a ring.
#[derive(Debug)]
pub struct Ring {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    mask: u64,
    position: u64,
}

/// A committed record, none if it was discarded, and how far behind its header the next one's is.
type Step<'a> = (Option<&'a [u8]>, u64);

/// How far a pass came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Everything that was reserved when the pass began has been read.
    Drained,
    /// A record in the way is still being written.
    Busy,
    /// The reader has had enough.
    Paused,
}

impl Ring {
    /// Maps a ring of `bytes`.
    pub fn open(map: &Map, bytes: u32) -> Result<Self, Error> {
        let page = page_size();
        let failed = |error| Error::engine(format!("mapping a ring buffer of {bytes} bytes: {error}"));
        let consumer = Mapping::new(map.fd(), page, true, 0).map_err(failed)?;
        let offset = i64::try_from(page).map_err(|_| Error::engine("a page of an absurd size"))?;
        let producer = Mapping::new(map.fd(), page + 2 * bytes as usize, false, offset).map_err(failed)?;
        let mut ring = Self { consumer, producer, page, mask: u64::from(bytes) - 1, position: 0 };
        ring.position = ring.consumer_position().load(Ordering::Acquire);
        Ok(ring)
    }

    /// Gives `each` every record that was reserved when the pass began, up to one that isn't committed yet, or until
    /// `each` says false. What was read is free for the kernel to overwrite when the pass returns.
    pub fn pass(&mut self, mut each: impl FnMut(&[u8]) -> bool) -> Result<Pass, Error> {
        let end = self.producer_position().load(Ordering::Acquire);
        let outcome = loop {
            if self.position == end {
                break Ok(Pass::Drained);
            }
            match self.next(end) {
                Ok(Some((record, advance))) => {
                    let goes_on = record.is_none_or(&mut each);
                    self.position += advance;
                    if !goes_on {
                        break Ok(Pass::Paused);
                    }
                }
                Ok(None) => break Ok(Pass::Busy),
                Err(error) => break Err(error),
            }
        };
        self.consumer_position().store(self.position, Ordering::Release);
        outcome
    }

    /// Bytes that wait to be read, headers included.
    pub fn backlog(&self) -> u64 {
        self.producer_position().load(Ordering::Acquire).saturating_sub(self.position)
    }

    /// What is at the reader's position; none if it is still being written.
    fn next(&self, end: u64) -> Result<Option<Step<'_>>, Error> {
        let place = self.page + (self.position & self.mask) as usize;
        // SAFETY: a header's place is a multiple of 8 below the ring's size, so it is aligned and within the mapping,
        // which lives as long as `self`; the kernel changes it atomically.
        let header = unsafe { self.producer.address().add(place).cast::<AtomicU32>().as_ref() }.load(Ordering::Acquire);
        if header & BPF_RINGBUF_BUSY_BIT != 0 {
            return Ok(None);
        }
        let length = u64::from(header & !(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT));
        let advance = (HEADER + length).next_multiple_of(8);
        if advance > end - self.position || advance > self.mask + 1 {
            return Err(Error::Stream {
                offset: self.position,
                message: format!("a record of {length} bytes where the ring has fewer"),
            });
        }
        if header & BPF_RINGBUF_DISCARD_BIT != 0 {
            return Ok(Some((None, advance)));
        }
        // SAFETY: the record begins below the ring's size and isn't longer than it, and the data is mapped twice in a
        // row, so it is within the mapping. It is committed, and the kernel won't write to it before our position,
        // which only `pass` moves, has gone by; the slice is borrowed from `self` and ends before that.
        let record = unsafe {
            let start = self.producer.address().add(place + HEADER as usize);
            std::slice::from_raw_parts(start.as_ptr(), length as usize)
        };
        Ok(Some((Some(record), advance)))
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: the first 8 bytes of the first page, aligned, alive as long as `self`, and only accessed atomically.
        unsafe { self.consumer.address().cast::<AtomicU64>().as_ref() }
    }

    fn producer_position(&self) -> &AtomicU64 {
        // SAFETY: the first 8 bytes of the second page, aligned, alive as long as `self`; the kernel writes atomically.
        unsafe { self.producer.address().cast::<AtomicU64>().as_ref() }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sys::{Syscall, fake};
    use super::*;

    const BYTES: u32 = 4096;

    /// A ring in ordinary memory, and the kernel's end of it.
    struct Kernel {
        consumer: *mut u64,
        producer: *mut u64,
        written: u64,
    }

    impl Kernel {
        fn commit(&mut self, header: u32, record: &[u8]) {
            for (index, byte) in
                header.to_ne_bytes().into_iter().chain([0; 4]).chain(record.iter().copied()).enumerate()
            {
                self.write(self.written + index as u64, byte);
            }
            self.written += (8 + record.len() as u64).next_multiple_of(8);
            // SAFETY: the test's own memory.
            unsafe { *self.producer = self.written };
        }

        fn write(&self, position: u64, byte: u8) {
            let place = (position % u64::from(BYTES)) as usize;
            // SAFETY: the test's own memory: a page, then the data twice.
            unsafe {
                let data = self.producer.cast::<u8>().add(page_size());
                *data.add(place) = byte;
                *data.add(place + BYTES as usize) = byte;
            }
        }

        fn consumed(&self) -> u64 {
            // SAFETY: the test's own memory.
            unsafe { *self.consumer }
        }
    }

    fn with_ring(test: impl FnOnce(&mut Ring, &mut Kernel)) {
        let mut consumer = vec![0_u64; page_size() / 8];
        let mut producer = vec![0_u64; (page_size() + 2 * BYTES as usize) / 8];
        let mut kernel = Kernel { consumer: consumer.as_mut_ptr(), producer: producer.as_mut_ptr(), written: 0 };
        let (first, second) = (kernel.consumer as i64, kernel.producer as i64);
        let calls = move |syscall: Syscall<'_>| match syscall {
            Syscall::Bpf { .. } => Ok(std::os::fd::IntoRawFd::into_raw_fd(std::fs::File::open("/dev/null")?).into()),
            Syscall::Map { writable, .. } => Ok(if writable { first } else { second }),
            Syscall::Unmap { .. } => Ok(0),
            _ => panic!("a ring makes no other call"),
        };
        fake::with(calls, || {
            let map = Map::ring("ring", BYTES).unwrap();
            test(&mut Ring::open(&map, BYTES).unwrap(), &mut kernel);
        });
    }

    fn read(ring: &mut Ring) -> (Result<Pass, Error>, Vec<Vec<u8>>) {
        let mut records = Vec::new();
        let pass = ring.pass(|record| {
            records.push(record.to_vec());
            true
        });
        (pass, records)
    }

    #[test]
    fn records_come_once_and_discarded_ones_never() {
        with_ring(|ring, kernel| {
            assert_eq!(read(ring), (Ok(Pass::Drained), vec![]));
            kernel.commit(3, b"abc");
            kernel.commit(2 | BPF_RINGBUF_DISCARD_BIT, b"no");
            kernel.commit(8, b"12345678");
            assert_eq!(ring.backlog(), 16 + 16 + 16);
            assert_eq!(read(ring), (Ok(Pass::Drained), vec![b"abc".to_vec(), b"12345678".to_vec()]));
            assert_eq!((kernel.consumed(), ring.backlog()), (48, 0));
            assert_eq!(read(ring), (Ok(Pass::Drained), vec![]));
        });
    }

    #[test]
    fn a_reader_that_has_enough_goes_on_where_it_was() {
        with_ring(|ring, kernel| {
            kernel.commit(1, b"a");
            kernel.commit(1, b"b");
            assert_eq!(ring.pass(|_| false), Ok(Pass::Paused));
            assert_eq!(read(ring), (Ok(Pass::Drained), vec![b"b".to_vec()]));
        });
    }

    #[test]
    fn a_busy_record_holds_up_those_behind_it() {
        with_ring(|ring, kernel| {
            kernel.commit(1, b"a");
            let busy = kernel.written;
            kernel.commit(1 | BPF_RINGBUF_BUSY_BIT, b"b");
            kernel.commit(1, b"c");
            assert_eq!(read(ring), (Ok(Pass::Busy), vec![b"a".to_vec()]));
            kernel.write(busy + 3, 0);
            assert_eq!(read(ring), (Ok(Pass::Drained), vec![b"b".to_vec(), b"c".to_vec()]));
        });
    }

    #[test]
    fn records_go_on_behind_the_ring_s_end() {
        with_ring(|ring, kernel| {
            for round in 0..100_u8 {
                let record = vec![round; 300 + usize::from(round)];
                kernel.commit(record.len() as u32, &record);
                assert_eq!(read(ring), (Ok(Pass::Drained), vec![record]));
                assert_eq!(kernel.consumed(), kernel.written);
            }
        });
    }

    #[test]
    fn a_length_that_can_t_be_is_an_error_with_its_offset() {
        with_ring(|ring, kernel| {
            kernel.commit(1, b"a");
            kernel.commit(5000, b"b");
            let (pass, records) = read(ring);
            assert_eq!(records, [b"a"]);
            assert!(matches!(pass, Err(Error::Stream { offset: 16, .. })), "{pass:?}");
        });
    }
}
