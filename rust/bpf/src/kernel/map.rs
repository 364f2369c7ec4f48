//! Maps. In: what each is for. Out: descriptors that close themselves, with reads and writes of the right sizes.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type};
use spile_core::error::Error;

use super::privilege;
use super::sys::bpf::{self, MapShape};

/// A map of the kernel's.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl Map {
    /// Makes one.
    pub fn create(shape: &MapShape<'_>) -> Result<Self, Error> {
        let fd = bpf::create_map(shape).map_err(|error| refused(shape, &error))?;
        Ok(Self { fd, key_size: shape.key_size as usize, value_size: shape.value_size as usize })
    }

    /// An array.
    pub fn array(name: &str, value_size: u32, entries: u32) -> Result<Self, Error> {
        Self::create(&shape(name, bpf_map_type::BPF_MAP_TYPE_ARRAY, value_size, entries))
    }

    /// An array that user space can map; none where the kernel takes no values of such a size.
    pub fn mappable_array(name: &str, value_size: u32, entries: u32) -> Result<Option<Self>, Error> {
        let array = shape(name, bpf_map_type::BPF_MAP_TYPE_ARRAY, value_size, entries);
        let array = MapShape { flags: BPF_F_MMAPABLE, ..array };
        match bpf::create_map(&array) {
            Ok(fd) => Ok(Some(Self { fd, key_size: 4, value_size: value_size as usize })),
            Err(error) if error.raw_os_error() == Some(libc::E2BIG) => Ok(None),
            Err(error) => Err(refused(&array, &error)),
        }
    }

    /// An array that each CPU has its own of.
    pub fn per_cpu_array(name: &str, value_size: u32, entries: u32) -> Result<Self, Error> {
        Self::create(&shape(name, bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY, value_size, entries))
    }

    /// An array of one value whose memory can be mapped.
    pub fn mapped(name: &str, value_size: u32) -> Result<Self, Error> {
        let array = shape(name, bpf_map_type::BPF_MAP_TYPE_ARRAY, value_size, 1);
        Self::create(&MapShape { flags: BPF_F_MMAPABLE, ..array })
    }

    /// A hash, all of its entries allocated at once.
    pub fn hash(name: &str, key_size: u32, value_size: u32, entries: u32) -> Result<Self, Error> {
        let hash = shape(name, bpf_map_type::BPF_MAP_TYPE_HASH, value_size, entries);
        Self::create(&MapShape { key_size, ..hash })
    }

    /// A ring of `bytes`: a power of two, at least a page.
    pub fn ring(name: &str, bytes: u32) -> Result<Self, Error> {
        let ring = shape(name, bpf_map_type::BPF_MAP_TYPE_RINGBUF, 0, bytes);
        Self::create(&MapShape { key_size: 0, ..ring })
    }

    /// An array of maps like `inner`.
    pub fn array_of_maps(name: &str, inner: &Self, entries: u32) -> Result<Self, Error> {
        let outer = shape(name, bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, entries);
        Self::create(&MapShape { inner: Some(inner.fd()), ..outer })
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Writes an entry.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.check(key.len() == self.key_size && value.len() == self.value_size)?;
        bpf::update(self.fd(), key, value).map_err(|error| Error::engine(format!("writing a map's entry: {error}")))
    }

    /// Removes an entry. One that isn't there is no error.
    pub fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.check(key.len() == self.key_size)?;
        match bpf::delete(self.fd(), key) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::engine(format!("removing a map's entry: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// The keys of a hash whose keys have 4 bytes. One that is removed meanwhile may make others appear twice.
    pub fn keys(&self) -> Result<Vec<u32>, Error> {
        self.check(self.key_size == 4)?;
        let (mut keys, mut last, mut next) = (Vec::new(), None, [0; 4]);
        while bpf::next_key(self.fd(), last.as_ref().map(<[u8; 4]>::as_slice), &mut next)
            .map_err(|error| Error::engine(format!("reading a map's keys: {error}")))?
        {
            keys.push(u32::from_ne_bytes(next));
            last = Some(next);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// The number of entries of a hash. One that is removed meanwhile may make others count twice.
    pub fn count(&self) -> Result<u64, Error> {
        let (mut count, mut last, mut next) = (0, None, vec![0; self.key_size]);
        while bpf::next_key(self.fd(), last.as_deref(), &mut next)
            .map_err(|error| Error::engine(format!("counting a map's keys: {error}")))?
        {
            count += 1;
            last = Some(next.clone());
        }
        Ok(count)
    }

    /// Reads an entry of a per-CPU array of `u64`s: the sum over `cpus`, the possible ones.
    pub fn sum_per_cpu(&self, key: u32, cpus: usize) -> Result<Vec<u64>, Error> {
        let row = self.value_size.next_multiple_of(8);
        let mut bytes = vec![0; row * cpus];
        self.check(self.key_size == 4)?;
        bpf::lookup(self.fd(), &key.to_ne_bytes(), &mut bytes)
            .map_err(|error| Error::engine(format!("reading a map's entry: {error}")))?;
        let mut sums = vec![0_u64; row / 8];
        for cpu in bytes.chunks_exact(row) {
            for (sum, word) in sums.iter_mut().zip(cpu.as_chunks::<8>().0) {
                *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
            }
        }
        Ok(sums)
    }

    /// The kernel copies as many bytes as the map was made for, so a slice of another size would be overrun.
    fn check(&self, fits: bool) -> Result<(), Error> {
        if fits { Ok(()) } else { Err(Error::engine("a key or value of the wrong size; this is a bug of spile's")) }
    }
}

fn shape(name: &str, kind: bpf_map_type, value_size: u32, max_entries: u32) -> MapShape<'_> {
    MapShape { name, kind, key_size: 4, value_size, max_entries, flags: 0, inner: None }
}

fn refused(shape: &MapShape<'_>, error: &io::Error) -> Error {
    let what = format!("making the map {} ({} entries or bytes)", shape.name, shape.max_entries);
    match error.raw_os_error() {
        Some(libc::EPERM) => privilege::missing(&what),
        Some(libc::ENOMEM) => Error::engine(format!(
            "{what}: the kernel has not enough memory; lower buffer=, tables=, or a span's max_open="
        )),
        Some(libc::EINVAL) if shape.kind as u32 == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32 => Error::Unsupported {
            message: format!(
                "{what}: this kernel has no BPF ring buffers, which came with 5.8; `spile doctor` says what works"
            ),
        },
        _ => Error::engine(format!("{what}: {error}")),
    }
}
