//! Waiting for programs. In: nothing. Out: the certainty that no run is left that had begun before.

use std::os::fd::AsRawFd as _;

use spile_core::error::Error;

use crate::kernel::map::Map;

/// A map of one map: its update returns only when every program that was running has ended (`maybe_wait_bpf_programs`,
/// kernel/bpf/syscall.c, since commit 1ae80cf31938).
pub(super) struct Fence(Map);

impl Fence {
    /// `inner` is any map; the one that [`Self::wait`] is given must be like it.
    pub(super) fn new(inner: &Map) -> Result<Self, Error> {
        Map::array_of_maps("spile_fence", inner, 1).map(Self)
    }

    pub(super) fn wait(&self, inner: &Map) -> Result<(), Error> {
        self.0.update(&0_u32.to_ne_bytes(), &inner.fd().as_raw_fd().to_ne_bytes())
    }
}
