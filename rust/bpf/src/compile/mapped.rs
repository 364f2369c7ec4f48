//! Mapped rings: what programs and their reader agree on. In: the bytes of a ring, and the number of CPUs. Out: where what is.
//!
//! One value of one map holds a ring for each CPU, one behind the other: a page of words, the data, and room for a record that
//! begins right before the data's end. Positions only grow; modulo the data's size they are places.
//!
//! * A program reserves a record by moving the head from the position that it read on by the record's size, in one
//!   compare-and-exchange: a program that interrupts it and reserves too makes it try anew. It writes the record, and last of
//!   all the word that the record begins with, which is never 0: the record is committed.
//! * The reader reads up to the first word that is 0, writes zeros over what it read, and then moves the tail. So memory in
//!   front of the head is always zero, and no old byte passes for a committed record.
//! * A record has the low 32 bits of its time. Whoever finds that the last whole time is more than [`BASE_INTERVAL`] ago first
//!   writes a record with the whole time. Each record is thus so near to the last whole time before it that 32 bits tell it.
//!
//! One CPU's programs write each ring, so nothing here is contended; the reader, on another CPU, relies on stores being seen in
//! the order in which they were made, as x86-64 has it. Elsewhere the last word would need a store-release, which BPF has
//! since Linux 6.15 only: there records travel by BPF ring buffers.

/// Offset of the position at which the next record is reserved.
pub const HEAD: u32 = 0;
/// Offset of the time of the last whole time's record.
pub const LAST_BASE: u32 = 8;
/// Offset of the position up to which the reader has read: on a cache line of its own.
pub const TAIL: u32 = 64;
/// Offset of the data: a page.
pub const DATA: u32 = 4096;
/// The largest record, and the room behind the data.
pub const MOST: u32 = 4096;
/// A whole time is written when the last one is so long ago: a quarter of what 32 bits hold, in nanoseconds.
pub const BASE_INTERVAL: u64 = 1 << 30;
/// How often a reservation is tried, with one interrupt at least between two tries.
pub(super) const TRIES: i64 = 4;
/// Offsets into a map's value must be below this (`BPF_MAX_VAR_OFF`, kernel/bpf/verifier.c).
const MOST_BYTES: u64 = 1 << 29;

/// The rings of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedRings {
    /// Of data for each CPU: a power of two, at least a page.
    pub bytes: u32,
    /// CPUs, a power of two.
    pub cpus: u32,
}

impl MappedRings {
    /// Rings of `bytes` for so many CPUs; none if no program could address them.
    pub fn new(bytes: u32, cpus: u32) -> Option<Self> {
        let rings = Self { bytes, cpus: cpus.max(1).checked_next_power_of_two()? };
        let fits = bytes.is_power_of_two() && bytes >= 4096 && u64::from(rings.cpus) * rings.stride64() < MOST_BYTES;
        fits.then_some(rings)
    }

    fn stride64(self) -> u64 {
        u64::from(DATA) + u64::from(self.bytes) + u64::from(MOST)
    }

    /// Bytes from one CPU's ring to the next one's.
    pub fn stride(self) -> u32 {
        self.stride64() as u32
    }

    /// Bytes of all rings.
    pub fn size(self) -> u32 {
        self.cpus * self.stride()
    }
}

#[cfg(test)]
mod tests {
    use super::MappedRings;

    #[test]
    fn rings_fit_what_programs_can_address() {
        assert_eq!(
            MappedRings::new(1 << 22, 3).map(|rings| (rings.cpus, rings.size())),
            Some((4, 4 * (8192 + (1 << 22))))
        );
        assert_eq!(MappedRings::new(1 << 22, 128), None);
        assert_eq!(MappedRings::new(5000, 2), None);
        assert_eq!(MappedRings::new(2048, 2), None);
    }
}
