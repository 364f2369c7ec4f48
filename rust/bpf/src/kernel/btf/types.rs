//! One type, viewed in place.

use spile_core::error::Error;

use super::{Btf, word};

/// What a type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is C's word, or Documentation/bpf/btf.rst's")]
pub enum Kind {
    Void,
    Int,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    Enum64,
    Typedef,
    /// volatile, const, restrict.
    Qualifier,
    TypeTag,
    Function,
    Prototype,
    Float,
    /// A declaration, a variable, a section: nothing that has values.
    Other,
}

/// A type's head: name, info, size or type.
pub(super) struct Raw {
    name: u32,
    info: u32,
    size_or_type: u32,
}

const HEAD: usize = 12;

impl Raw {
    pub(super) fn read(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self { name: word(bytes, at)?, info: word(bytes, at + 4)?, size_or_type: word(bytes, at + 8)? })
    }

    pub(super) fn kind_number(&self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn parts(&self) -> usize {
        (self.info & 0xffff) as usize
    }

    fn flag(&self) -> bool {
        self.info >> 31 == 1
    }

    /// Bytes that the type takes in the file.
    pub(super) fn size(&self) -> Option<usize> {
        let tail = match self.kind_number() {
            1 | 14 | 17 => 4,
            2 | 7..=12 | 16 | 18 => 0,
            3 => 12,
            4 | 5 | 15 | 19 => 12 * self.parts(),
            6 | 13 => 8 * self.parts(),
            _ => return None,
        };
        Some(HEAD + tail)
    }
}

/// A member of a structure.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name; empty for an anonymous structure or union.
    pub name: &'a [u8],
    /// Its type's number.
    pub ty: u32,
    /// From the structure's start.
    pub bit: u32,
    /// Its width, where it is a bit field.
    pub bits: Option<u32>,
}

/// A parameter of a function.
#[derive(Debug, Clone, Copy)]
pub struct Parameter<'a> {
    /// Its name; empty in a prototype that has none.
    pub name: &'a [u8],
    /// Its type's number.
    pub ty: u32,
}

/// A type.
#[derive(Debug, Clone, Copy)]
pub struct Type<'a> {
    btf: &'a Btf,
    id: u32,
    at: usize,
}

impl<'a> Type<'a> {
    pub(super) fn new(btf: &'a Btf, id: u32, at: usize) -> Self {
        Self { btf, id, at }
    }

    pub(super) fn void(btf: &'a Btf) -> Self {
        Self { btf, id: 0, at: usize::MAX - 64 }
    }

    fn word(&self, at: usize) -> u32 {
        word(&self.btf.bytes, self.at + at).unwrap_or(0)
    }

    fn raw(&self) -> Raw {
        Raw { name: self.word(0), info: self.word(4), size_or_type: self.word(8) }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.raw().kind_number() {
            0 => Kind::Void,
            1 => Kind::Int,
            2 => Kind::Pointer,
            3 => Kind::Array,
            4 => Kind::Struct,
            5 => Kind::Union,
            6 => Kind::Enum,
            8 => Kind::Typedef,
            9..=11 => Kind::Qualifier,
            12 => Kind::Function,
            13 => Kind::Prototype,
            16 => Kind::Float,
            18 => Kind::TypeTag,
            19 => Kind::Enum64,
            _ => Kind::Other,
        }
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &'a [u8] {
        self.btf.string(self.raw().name)
    }

    /// Whether that is its name. Quicker than comparing [`Self::name`], which looks for the end first.
    pub fn has_name(&self, name: &str) -> bool {
        let rest = self.btf.rest(self.raw().name);
        rest.get(name.len()) == Some(&0) && rest.starts_with(name.as_bytes())
    }

    /// Bytes of a value of a type that has a size of its own.
    pub fn size(&self) -> u32 {
        match self.kind() {
            Kind::Pointer => 8,
            _ => self.raw().size_or_type,
        }
    }

    /// The type that this one is made from: pointed to, qualified, named, or a function's prototype.
    pub fn target(&self) -> Result<Type<'a>, Error> {
        self.btf.get(self.raw().size_or_type)
    }

    /// Another type of the same file.
    pub fn sibling(&self, id: u32) -> Result<Type<'a>, Error> {
        self.btf.get(id)
    }

    /// Whether an integer or enumeration can be negative.
    pub fn is_signed(&self) -> bool {
        match self.kind() {
            Kind::Int => self.word(HEAD) >> 24 & 1 == 1,
            Kind::Enum | Kind::Enum64 => self.raw().flag(),
            _ => false,
        }
    }

    /// The bits of an integer, which in old files may be fewer than its bytes have.
    pub fn int_bits(&self) -> u32 {
        self.word(HEAD) & 0xff
    }

    /// Whether it is `char` or a synonym of the compiler's.
    pub fn is_char(&self) -> bool {
        self.kind() == Kind::Int && self.size() == 1 && self.has_name("char")
    }

    /// An array's element type and count.
    pub fn element(&self) -> Result<(Type<'a>, u32), Error> {
        Ok((self.btf.get(self.word(HEAD))?, self.word(HEAD + 8)))
    }

    /// A structure's members.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let (this, raw) = (*self, self.raw());
        let parts = if matches!(self.kind(), Kind::Struct | Kind::Union) { raw.parts() } else { 0 };
        let has_bits = raw.flag();
        (0..parts).map(move |index| {
            let at = HEAD + 12 * index;
            let (name, ty, offset) = (this.word(at), this.word(at + 4), this.word(at + 8));
            let (bit, bits) = if has_bits { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            Member { name: this.btf.string(name), ty, bit, bits: (bits != 0).then_some(bits) }
        })
    }

    /// An enumeration's values and their names.
    pub fn enumerators(&self) -> impl Iterator<Item = (i128, &'a [u8])> + use<'a> {
        let (this, raw, kind, is_signed) = (*self, self.raw(), self.kind(), self.is_signed());
        let parts = if matches!(kind, Kind::Enum | Kind::Enum64) { raw.parts() } else { 0 };
        (0..parts).map(move |index| {
            let at = HEAD + if kind == Kind::Enum64 { 12 * index } else { 8 * index };
            let low = this.word(at + 4);
            let value = match (kind, is_signed) {
                (Kind::Enum64, _) => {
                    let value = u64::from(this.word(at + 8)) << 32 | u64::from(low);
                    if is_signed { value.cast_signed().into() } else { value.into() }
                }
                (_, true) => low.cast_signed().into(),
                (_, false) => low.into(),
            };
            (value, this.btf.string(this.word(at)))
        })
    }

    /// A function's or prototype's parameters.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'a>> + use<'a> {
        let prototype = match self.kind() {
            Kind::Function => self.target().ok().filter(|ty| ty.kind() == Kind::Prototype),
            Kind::Prototype => Some(*self),
            _ => None,
        };
        let parts = prototype.map_or(0, |ty| ty.raw().parts());
        let this = prototype.unwrap_or(*self);
        (0..parts).map(move |index| {
            let at = HEAD + 8 * index;
            Parameter { name: this.btf.string(this.word(at)), ty: this.word(at + 4) }
        })
    }

    /// The type without names and qualifiers, and the tags met on the way.
    pub fn resolved(&self) -> Result<(Type<'a>, Tags), Error> {
        let (mut ty, mut tags) = (*self, Tags::default());
        // A chain longer than this is a circle.
        for _ in 0..64 {
            match ty.kind() {
                Kind::TypeTag => {
                    tags.user |= ty.has_name("user");
                    tags.percpu |= ty.has_name("percpu");
                }
                Kind::Typedef | Kind::Qualifier => {}
                _ => return Ok((ty, tags)),
            }
            ty = ty.target()?;
        }
        Err(super::damaged(&format!("type {}, which is made from itself,", self.id)))
    }

    /// As C spells it, roughly.
    pub fn spelling(&self) -> String {
        self.spelling_within(16)
    }

    fn spelling_within(&self, depth: u32) -> String {
        let name = String::from_utf8_lossy(self.name()).into_owned();
        let of = |ty: Result<Type<'a>, Error>| match ty {
            Ok(ty) if depth > 0 => ty.spelling_within(depth - 1),
            _ => "…".into(),
        };
        match self.kind() {
            Kind::Void => "void".into(),
            Kind::Struct => format!("struct {name}"),
            Kind::Union => format!("union {name}"),
            Kind::Enum | Kind::Enum64 => format!("enum {name}"),
            Kind::Pointer => format!("{} *", of(self.target())).replace("* *", "**"),
            Kind::Array => match self.element() {
                Ok((element, count)) => format!("{}[{count}]", of(Ok(element))),
                Err(_) => "…[]".into(),
            },
            Kind::Qualifier if self.raw().kind_number() == 10 => format!("const {}", of(self.target())),
            Kind::Qualifier | Kind::TypeTag => of(self.target()),
            Kind::Prototype => "(function)".into(),
            _ => name,
        }
    }
}

/// Where a pointer points to, as the kernel's annotations say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tags {
    /// `__user`.
    pub user: bool,
    /// `__percpu`.
    pub percpu: bool,
}
