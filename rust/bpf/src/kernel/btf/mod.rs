//! The kernel's own account of its types. In: `/sys/kernel/btf/vmlinux`. Out: types by name or number, decoded on demand.
//!
//! A module's file (`/sys/kernel/btf/overlay`) is split: it holds what the module has beside the kernel's types, whose numbers
//! and strings its own follow on. A type of either finds the others by their numbers.
//!
//! Opening reads the file once and notes where each type begins; nothing is decoded or hashed before someone asks. The
//! form is that of Documentation/bpf/btf.rst. Every access is checked: a file that lies gives errors, never a panic.

pub mod module;
pub mod path;
mod types;

use std::cell::{Cell, OnceCell};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;
use std::rc::Rc;

use spile_core::error::Error;

pub use types::{Kind, Member, Parameter, Type};

/// Where the running kernel's types are.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;

/// A file of types.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// What its numbers and strings follow on, where it is a module's.
    base: Option<Rc<Btf>>,
    /// Of each type of its own, from its first number, within `bytes`.
    starts: Vec<u32>,
    strings: std::ops::Range<usize>,
    /// Hashes of names and the numbers of their types, in order, once so much is looked for that it pays. Without the names:
    /// a hundred thousand allocations are most of what it would take to make.
    index: OnceCell<Vec<(u64, u32)>>,
    finds: Cell<u32>,
}

/// A scan of all names takes a tenth of the time that an index of them takes to make.
const FINDS_BEFORE_INDEX: u32 = 8;

impl Btf {
    /// Reads the running kernel's.
    pub fn of_kernel() -> Result<Self, Error> {
        Self::read(Path::new(VMLINUX))
    }

    /// Reads a file that stands for itself.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|error| Error::Unsupported {
            message: format!(
                "{}: {error}; without BTF, raw tracepoints have only numbered arguments (arg[0]), classic tracepoints only \
                 the fields of their format, and utime, stime and ppid can't be captured",
                path.display()
            ),
        })?;
        Self::parse(bytes)
    }

    /// Scans the bytes of a file.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::parse_on(None, bytes)
    }

    /// Scans the bytes of a file that follows on another one.
    pub fn parse_on(base: Option<Rc<Self>>, bytes: Vec<u8>) -> Result<Self, Error> {
        let (types, strings) = sections(&bytes).ok_or_else(|| damaged("its header"))?;
        let mut starts = Vec::with_capacity(types.len() / 32);
        let mut at = types.start;
        while at < types.end {
            let raw = types::Raw::read(&bytes, at).ok_or_else(|| damaged("a type's header"))?;
            starts.push(u32::try_from(at).map_err(|_| damaged("its size"))?);
            at += raw.size().ok_or_else(|| damaged(&format!("type {} (kind {})", starts.len(), raw.kind_number())))?;
        }
        if at != types.end {
            return Err(damaged("its last type"));
        }
        Ok(Self { bytes, base, starts, strings, index: OnceCell::new(), finds: Cell::new(0) })
    }

    /// The number of types, those that it follows on included.
    pub fn len(&self) -> u32 {
        self.before() + self.starts.len() as u32
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of types that its own follow on.
    fn before(&self) -> u32 {
        self.base.as_ref().map_or(0, |base| base.len())
    }

    /// A type by number; 0 is `void`.
    pub fn get(&self, id: u32) -> Result<Type<'_>, Error> {
        if id == 0 {
            return Ok(Type::void(self));
        }
        let own = match (&self.base, id.checked_sub(1 + self.before())) {
            (Some(base), None) => return base.get(id),
            (_, own) => own.and_then(|own| self.starts.get(own as usize)),
        };
        let start = own.ok_or_else(|| damaged(&format!("type number {id}")))?;
        Ok(Type::new(self, id, *start as usize))
    }

    /// The first type of that kind and name among its own.
    pub fn find(&self, is_kind: impl Fn(Kind) -> bool, name: &str) -> Option<Type<'_>> {
        self.finds.set(self.finds.get().saturating_add(1));
        if self.finds.get() <= FINDS_BEFORE_INDEX {
            return self.all().find(|ty| is_kind(ty.kind()) && ty.has_name(name));
        }
        let (index, hash) = (self.index.get_or_init(|| self.indexed()), hash(name.as_bytes()));
        let first = index.partition_point(|entry| entry.0 < hash);
        let alike = index[first..].iter().take_while(|entry| entry.0 == hash);
        alike.filter_map(|entry| self.get(entry.1).ok()).find(|ty| is_kind(ty.kind()) && ty.has_name(name))
    }

    fn indexed(&self) -> Vec<(u64, u32)> {
        let named = self.all().map(|ty| (ty.name(), ty.id())).filter(|(name, _)| !name.is_empty());
        let mut index: Vec<(u64, u32)> = named.map(|(name, id)| (hash(name), id)).collect();
        index.sort_unstable();
        index
    }

    /// A structure or union by name.
    pub fn structure(&self, name: &str) -> Option<Type<'_>> {
        self.find(|kind| matches!(kind, Kind::Struct | Kind::Union), name)
    }

    /// Every type of its own.
    pub fn all(&self) -> impl Iterator<Item = Type<'_>> {
        self.starts.iter().zip(1 + self.before()..).map(|(start, id)| Type::new(self, id, *start as usize))
    }

    /// The string at an offset; nothing where there is none.
    fn string(&self, offset: u32) -> &[u8] {
        self.rest(offset).split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// All strings from an offset on.
    fn rest(&self, offset: u32) -> &[u8] {
        let offset = offset as usize;
        match &self.base {
            Some(base) if offset < base.strings_end() => base.rest(offset as u32),
            base => {
                let own = offset - base.as_ref().map_or(0, |base| base.strings_end());
                let start = (self.strings.start + own).min(self.strings.end);
                self.bytes.get(start..self.strings.end).unwrap_or_default()
            }
        }
    }

    /// The offset behind its last string.
    fn strings_end(&self) -> usize {
        self.base.as_ref().map_or(0, |base| base.strings_end()) + self.strings.len()
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

type Section = std::ops::Range<usize>;

fn sections(bytes: &[u8]) -> Option<(Section, Section)> {
    if bytes.get(..2)? != MAGIC.to_ne_bytes() {
        return None;
    }
    let base = word(bytes, 4)? as usize;
    let section = |at| {
        let start = base.checked_add(word(bytes, at)? as usize)?;
        let end = start.checked_add(word(bytes, at + 4)? as usize)?;
        (end <= bytes.len()).then_some(start..end)
    };
    Some((section(8)?, section(16)?))
}

fn damaged(what: &str) -> Error {
    Error::engine(format!("the kernel's BTF can't be read: {what} makes no sense"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod tests {
    use super::*;

    /// Writes the bytes of a BTF file, for tests.
    pub(crate) struct Writer {
        types: Vec<u8>,
        strings: Vec<u8>,
        count: u32,
        /// The offset of the first string.
        first: u32,
    }

    impl Writer {
        pub(crate) fn new() -> Self {
            Self { types: Vec::new(), strings: vec![0], count: 0, first: 0 }
        }

        /// What it writes follows on other types.
        pub(crate) fn on(base: &Btf) -> Self {
            Self { types: Vec::new(), strings: vec![], count: base.len(), first: base.strings_end() as u32 }
        }

        pub(crate) fn name(&mut self, name: &str) -> u32 {
            if name.is_empty() {
                return 0;
            }
            let offset = self.first + self.strings.len() as u32;
            self.strings.extend(name.bytes().chain([0]));
            offset
        }

        /// Adds a type: its kind, flag, name, size or type, number of parts, and the words behind it.
        pub(crate) fn add(&mut self, kind: u32, flag: bool, name: &str, size: u32, parts: u32, words: &[u32]) -> u32 {
            let name = self.name(name);
            let info = parts | kind << 24 | u32::from(flag) << 31;
            for word in [name, info, size].iter().chain(words) {
                self.types.extend(word.to_ne_bytes());
            }
            self.count += 1;
            self.count
        }

        pub(crate) fn int(&mut self, name: &str, size: u32, signed: bool) -> u32 {
            self.add(1, false, name, size, 0, &[(u32::from(signed) << 24) | (size * 8)])
        }

        pub(crate) fn pointer(&mut self, to: u32) -> u32 {
            self.add(2, false, "", to, 0, &[])
        }

        /// Members: name, type, offset in bits, and the size in bits where it is a bit field.
        pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
            let mut words = Vec::new();
            for &(name, ty, bit, bits) in members {
                words.extend([self.name(name), ty, bit | bits << 24]);
            }
            self.add(4, true, name, size, members.len() as u32, &words)
        }

        pub(crate) fn enumeration(&mut self, name: &str, size: u32, signed: bool, values: &[(&str, i32)]) -> u32 {
            let mut words = Vec::new();
            for &(name, value) in values {
                words.extend([self.name(name), value.cast_unsigned()]);
            }
            self.add(6, signed, name, size, values.len() as u32, &words)
        }

        pub(crate) fn function(&mut self, name: &str, parameters: &[(&str, u32)]) -> u32 {
            self.returning(name, parameters, 0)
        }

        /// A function that returns a value of a type.
        pub(crate) fn returning(&mut self, name: &str, parameters: &[(&str, u32)], result: u32) -> u32 {
            let mut words = Vec::new();
            for &(name, ty) in parameters {
                words.extend([self.name(name), ty]);
            }
            let proto = self.add(13, false, "", result, parameters.len() as u32, &words);
            self.add(12, false, name, proto, 0, &[])
        }

        pub(crate) fn bytes(&self) -> Vec<u8> {
            let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
            let mut bytes = MAGIC.to_ne_bytes().to_vec();
            bytes.extend([1, 0]);
            for word in [24, 0, types, types, strings] {
                bytes.extend(u32::to_ne_bytes(word));
            }
            bytes.extend(&self.types);
            bytes.extend(&self.strings);
            bytes
        }

        pub(crate) fn btf(&self) -> Btf {
            Btf::parse(self.bytes()).unwrap()
        }
    }

    #[test]
    fn types_are_found_by_name_and_kind() {
        let mut writer = Writer::new();
        let int = writer.int("thing", 4, true);
        writer.structure("thing", 8, &[("a", int, 32, 0)]);
        let btf = writer.btf();
        assert_eq!(btf.len(), 2);
        let thing = btf.structure("thing").unwrap();
        assert_eq!((thing.id(), thing.size()), (2, 8));
        assert!(btf.structure("thin").is_none() && btf.structure("things").is_none());
    }

    #[test]
    fn an_index_finds_what_a_scan_finds() {
        let mut writer = Writer::new();
        let int = writer.int("int", 4, true);
        writer.structure("int", 8, &[("a", int, 32, 0)]);
        writer.structure("int", 4, &[("b", int, 0, 0)]);
        let btf = writer.btf();
        for _ in 0..2 * FINDS_BEFORE_INDEX {
            assert_eq!(btf.structure("int").map(|ty| ty.id()), Some(2));
            assert!(btf.structure("in").is_none() && btf.find(|kind| kind == Kind::Function, "int").is_none());
        }
    }

    #[test]
    fn an_enumeration_s_values_have_names() {
        let mut writer = Writer::new();
        let states = [("NONE", -1), ("ON", 1)];
        let signed = writer.enumeration("signed", 4, true, &states);
        let unsigned = writer.enumeration("unsigned", 4, false, &states);
        let (high, low) = (writer.name("HIGH"), writer.name("LOW"));
        let wide = writer.add(19, false, "wide", 8, 2, &[high, 0, 1, low, 7, 0]);
        let deep = writer.add(19, true, "deep", 8, 1, &[low, u32::MAX - 1, u32::MAX]);
        let btf = writer.btf();
        let values = |id| btf.get(id).unwrap().enumerators().collect::<Vec<_>>();
        assert_eq!(values(signed), [(-1, &b"NONE"[..]), (1, b"ON")]);
        assert_eq!(values(unsigned), [(u32::MAX.into(), &b"NONE"[..]), (1, b"ON")]);
        assert_eq!(values(wide), [(1 << 32, &b"HIGH"[..]), (7, b"LOW")]);
        assert_eq!(values(deep), [(-2, &b"LOW"[..])]);
        assert_eq!(values(0), []);
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let mut writer = Writer::new();
        let int = writer.int("int", 4, true);
        writer.enumeration("on", 4, true, &[("ON", 1)]);
        let inner = writer.structure("inner", 8, &[("a", int, 0, 0), ("b", 77, 32, 3)]);
        let pointer = writer.pointer(inner);
        writer.function("__traceiter_x", &[("__data", pointer), ("p", pointer)]);
        let good = writer.bytes();
        for at in 0..good.len() {
            for bit in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                let Ok(btf) = Btf::parse(bad) else { continue };
                for ty in btf.all() {
                    let _ = (ty.name(), ty.spelling(), ty.size(), ty.members().count(), ty.parameters().count());
                    let _ = ty.enumerators().count();
                }
            }
            let _ = Btf::parse(good[..at].to_vec());
        }
    }
}
