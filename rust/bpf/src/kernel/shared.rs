//! Arrays that programs and this process both write to. In: sizes. Out: words, in place.

use std::sync::atomic::AtomicU64;

use spile_core::error::Error;

use super::map::Map;
use super::sys::memory::{Mapping, page_size};

/// An array of parts, mapped.
#[derive(Debug)]
pub struct SharedArray {
    map: Map,
    mapping: Mapping,
    words: usize,
}

impl SharedArray {
    /// Makes one of so many parts of `size` bytes, a multiple of 8; none where the kernel takes no parts of such a size.
    pub fn create(name: &str, size: u32, parts: u32) -> Result<Option<Self>, Error> {
        let Some(map) = Map::mappable_array(name, size, parts)? else { return Ok(None) };
        let bytes = size as usize * parts as usize;
        let mapping = Mapping::new(map.fd(), bytes.next_multiple_of(page_size()), true, 0)
            .map_err(|error| Error::engine(format!("mapping {bytes} bytes of tables: {error}")))?;
        Ok(Some(Self { map, mapping, words: size as usize / 8 }))
    }

    /// The map, for programs.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// A part's words; none beyond the last.
    pub fn part(&self, index: usize) -> &[AtomicU64] {
        self.mapping.words().get(index * self.words..(index + 1) * self.words).unwrap_or_default()
    }
}
