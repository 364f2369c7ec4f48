//! The way along a path such as `prev.signal.nr_threads`. In: a typed place and steps. Out: an [`Access`].

use spile_core::error::Error;
use spile_core::names::ValueNames;
use spile_core::spec::PathStep;

use super::types::{Kind, Tags, Type};
use crate::compile::{Access, Leaf};
use crate::kernel::nearest::proposal;

/// Deeper nesting of anonymous structures is a circle.
const ANONYMOUS_DEPTH: u32 = 16;

/// Where a value is.
#[derive(Debug, Clone)]
enum Place {
    /// An argument of 8 bytes in the context.
    Context { offset: u32 },
    /// Behind a pointer in the context.
    Memory { ctx_offset: u32, derefs: Vec<u32>, offset: u32 },
}

/// Follows `steps` from a value of type `ty` that is in the 8 bytes at `ctx_offset` of the context.
pub fn follow(ctx_offset: u32, ty: Type<'_>, spelled: &str, steps: &[PathStep]) -> Result<Access, Error> {
    walk(Place::Context { offset: ctx_offset }, ty, spelled, steps)
}

/// Follows `steps` from a value of type `ty` that is `offset` bytes behind the pointer at `ctx_offset` of the context.
pub fn follow_from(
    ctx_offset: u32,
    offset: u32,
    ty: Type<'_>,
    spelled: &str,
    steps: &[PathStep],
) -> Result<Access, Error> {
    let place = Place::Memory { ctx_offset, derefs: Vec::new(), offset };
    walk(place, ty, spelled, steps)
}

/// Follows `steps` from what the pointer at `ctx_offset` of the context points to.
pub fn follow_pointee(ctx_offset: u32, ty: Type<'_>, spelled: &str, steps: &[PathStep]) -> Result<Access, Error> {
    follow_from(ctx_offset, 0, ty, spelled, steps)
}

fn walk(place: Place, ty: Type<'_>, spelled: &str, steps: &[PathStep]) -> Result<Access, Error> {
    let mut walk = Walk { place, ty, bits: None, spelled: spelled.to_owned() };
    for step in steps {
        walk.step(step)?;
    }
    walk.finish()
}

/// The names of the values that `steps` lead to from a value of type `ty`, where that is an enumeration.
pub fn names(ty: Type<'_>, steps: &[PathStep]) -> ValueNames {
    let place = Place::Memory { ctx_offset: 0, derefs: Vec::new(), offset: 0 };
    let mut walk = Walk { place, ty, bits: None, spelled: String::new() };
    let is_there = steps.iter().all(|step| walk.step(step).is_ok());
    match walk.ty.resolved() {
        Ok((ty, _)) if is_there => {
            ValueNames::new(ty.enumerators().map(|(value, name)| (value, String::from_utf8_lossy(name).into_owned())))
        }
        _ => ValueNames::default(),
    }
}

struct Walk<'a> {
    place: Place,
    ty: Type<'a>,
    /// Of a bit field: its first bit within the byte at the place, and its width.
    bits: Option<(u32, u32)>,
    spelled: String,
}

impl<'a> Walk<'a> {
    fn step(&mut self, step: &PathStep) -> Result<(), Error> {
        let (ty, tags) = self.ty.resolved()?;
        let (ty, through_pointer) = match ty.kind() {
            Kind::Pointer => {
                let (target, more) = ty.target()?.resolved()?;
                self.dereference(Tags { user: tags.user | more.user, percpu: tags.percpu | more.percpu })?;
                (target, true)
            }
            _ => (ty, false),
        };
        match step {
            PathStep::Name(name) => self.member(ty, name)?,
            PathStep::Index(index) => self.element(ty, through_pointer, *index)?,
        }
        match step {
            PathStep::Name(name) => self.spelled.push_str(&format!(".{name}")),
            PathStep::Index(index) => self.spelled.push_str(&format!("[{index}]")),
        }
        Ok(())
    }

    fn dereference(&mut self, tags: Tags) -> Result<(), Error> {
        if tags.percpu {
            return self.refuse("points to a variable that each CPU has its own of, which can't be followed");
        }
        if tags.user {
            return self.refuse("points to user memory; read it with string()");
        }
        match &mut self.place {
            Place::Context { offset } => {
                self.place = Place::Memory { ctx_offset: *offset, derefs: Vec::new(), offset: 0 };
            }
            Place::Memory { derefs, offset, .. } => derefs.push(std::mem::take(offset)),
        }
        Ok(())
    }

    fn member(&mut self, ty: Type<'a>, name: &str) -> Result<(), Error> {
        if !matches!(ty.kind(), Kind::Struct | Kind::Union) {
            return self.refuse(&format!("is {}, which has no members", ty.spelling()));
        }
        let Some((bit, bits, member)) = find(ty, name, ANONYMOUS_DEPTH)? else {
            let mut names = Vec::new();
            names_of(ty, &mut names, ANONYMOUS_DEPTH)?;
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return self.refuse(&format!("is {} and has no member {name}{}", ty.spelling(), proposal(name, &names)));
        };
        self.advance(bit / 8)?;
        self.bits = bits.map(|bits| (bit % 8, bits));
        self.ty = member;
        Ok(())
    }

    fn element(&mut self, ty: Type<'a>, through_pointer: bool, index: u32) -> Result<(), Error> {
        let element = if through_pointer {
            ty
        } else if ty.kind() == Kind::Array {
            let (element, count) = ty.element()?;
            // The last array of a structure may have any length, and says 0 or 1.
            if index >= count && count > 1 {
                return self.refuse(&format!("has {count} elements, and [{index}] asks for another"));
            }
            element
        } else {
            return self.refuse(&format!("is {}, which has no elements", ty.spelling()));
        };
        let size = size_of_type(element)?;
        let Some(bytes) = size.checked_mul(index) else { return self.refuse("is not that long") };
        self.advance(bytes)?;
        self.bits = None;
        self.ty = element;
        Ok(())
    }

    fn advance(&mut self, bytes: u32) -> Result<(), Error> {
        match &mut self.place {
            Place::Memory { offset, .. } => match offset.checked_add(bytes).filter(|&sum| sum <= i32::MAX as u32) {
                Some(sum) => *offset = sum,
                None => return self.refuse("is too far away"),
            },
            Place::Context { .. } => {
                return self.refuse("is a structure passed by value, whose members can't be reached");
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Access, Error> {
        let (ty, _) = self.ty.resolved()?;
        let leaf = match (ty.kind(), self.bits) {
            (_, Some((shift, width))) => self.bit_field(ty, shift, width)?,
            (Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Pointer, None) => {
                let size = match u8::try_from(ty.size()) {
                    Ok(size @ (1 | 2 | 4 | 8)) => size,
                    _ => return self.refuse(&format!("is {}, which does not fit 64 bits", ty.spelling())),
                };
                Leaf::Int { size, signed: ty.is_signed() }
            }
            (Kind::Array, None) => {
                let (element, count) = ty.element()?;
                if !element.resolved()?.0.is_char() || count == 0 {
                    return self.refuse(&format!("is {}; ask for an element, such as [0]", ty.spelling()));
                }
                Leaf::String { size: count }
            }
            (Kind::Struct | Kind::Union, None) => {
                let mut names = Vec::new();
                names_of(ty, &mut names, ANONYMOUS_DEPTH)?;
                names.truncate(8);
                return self.refuse(&format!("is {}; ask for a member, such as {}", ty.spelling(), names.join(", ")));
            }
            _ => return self.refuse(&format!("is {}, which can't be captured", ty.spelling())),
        };
        Ok(match (self.place, leaf) {
            (Place::Context { offset }, Leaf::Int { size, signed }) => Access::Ctx { offset, size, signed },
            (Place::Context { .. }, _) => {
                return Err(Error::FieldNotFound {
                    message: format!("arg.{} can't be captured by value", self.spelled),
                });
            }
            (Place::Memory { ctx_offset, derefs, offset }, leaf) => Access::Read { ctx_offset, derefs, offset, leaf },
        })
    }

    fn bit_field(&self, ty: Type<'_>, shift: u32, width: u32) -> Result<Leaf, Error> {
        let bytes = (shift + width).div_ceil(8).next_power_of_two();
        match (u8::try_from(bytes), u8::try_from(shift), u8::try_from(width)) {
            (Ok(size @ (1 | 2 | 4 | 8)), Ok(shift), Ok(width)) => {
                Ok(Leaf::Bits { size, shift, width, signed: ty.is_signed() })
            }
            _ => self.refuse("is a bit field that spans more than 8 bytes"),
        }
    }

    fn refuse<T>(&self, why: &str) -> Result<T, Error> {
        Err(Error::FieldNotFound { message: format!("arg.{} {why}", self.spelled) })
    }
}

type Found<'a> = (u32, Option<u32>, Type<'a>);

/// A member's first bit, its width if it is a bit field, and its type; anonymous structures are looked into.
pub(super) fn find<'a>(ty: Type<'a>, name: &str, depth: u32) -> Result<Option<Found<'a>>, Error> {
    for member in ty.members() {
        let member_type = ty.sibling(member.ty)?;
        if member.name == name.as_bytes() {
            let (resolved, _) = member_type.resolved()?;
            // Old files mark a bit field by an integer of fewer bits than its bytes have.
            let is_narrow = resolved.kind() == Kind::Int && resolved.int_bits() < 8 * resolved.size();
            let bits = member.bits.or_else(|| is_narrow.then(|| resolved.int_bits()));
            return Ok(Some((member.bit, bits, member_type)));
        }
        if member.name.is_empty() && depth > 0 {
            let (inner, _) = member_type.resolved()?;
            if let Some((bit, bits, found)) = find(inner, name, depth - 1)? {
                return Ok(Some((member.bit.saturating_add(bit), bits, found)));
            }
        }
    }
    Ok(None)
}

fn names_of(ty: Type<'_>, names: &mut Vec<String>, depth: u32) -> Result<(), Error> {
    for member in ty.members() {
        if !member.name.is_empty() {
            names.push(String::from_utf8_lossy(member.name).into_owned());
        } else if depth > 0 {
            names_of(ty.sibling(member.ty)?.resolved()?.0, names, depth - 1)?;
        }
    }
    Ok(())
}

fn size_of_type(ty: Type<'_>) -> Result<u32, Error> {
    let (mut ty, _) = ty.resolved()?;
    let mut count = 1_u32;
    // More dimensions than this are a circle.
    for _ in 0..16 {
        if ty.kind() != Kind::Array {
            break;
        }
        let (element, elements) = ty.element()?;
        count = count.saturating_mul(elements);
        ty = element.resolved()?.0;
    }
    Ok(match ty.kind() {
        Kind::Void | Kind::Function | Kind::Prototype => 1,
        _ => count.saturating_mul(ty.size()),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::tests::Writer;
    use super::*;

    fn names(path: &[&str]) -> Vec<PathStep> {
        path.iter().map(|step| step.parse().map_or_else(|_| PathStep::Name((*step).into()), PathStep::Index)).collect()
    }

    /// A task: { int pid; char comm[16]; union { struct { u8 flags: 3, state: 5 }; }; task *parent; int cpus[4] }.
    fn walk(path: &[&str]) -> Result<Access, Error> {
        let mut writer = Writer::new();
        let int = writer.int("int", 4, true);
        let char = writer.int("char", 1, true);
        let byte = writer.int("unsigned char", 1, false);
        let comm = writer.add(3, false, "", 0, 0, &[char, int, 16]);
        let cpus = writer.add(3, false, "", 0, 0, &[int, int, 4]);
        let bits = writer.structure("", 1, &[("flags", byte, 0, 3), ("state", byte, 3, 5)]);
        let union = writer.add(5, false, "", 1, 1, &[0, bits, 0]);
        let pointer = union + 2;
        let task = [
            ("pid", int, 0, 0),
            ("comm", comm, 32, 0),
            ("", union, 160, 0),
            ("parent", pointer, 192, 0),
            ("cpus", cpus, 256, 0),
        ];
        let task = writer.structure("task", 48, &task);
        assert_eq!(writer.pointer(task), pointer);
        let user = writer.add(18, false, "user", char, 0, &[]);
        let user = writer.pointer(user);
        let btf = writer.btf();
        let (start, steps) = match path {
            ["USER", rest @ ..] => (user, rest),
            path => (pointer, path),
        };
        follow(8, btf.get(start).unwrap(), "p", &names(steps))
    }

    fn read(derefs: &[u32], offset: u32, leaf: Leaf) -> Access {
        Access::Read { ctx_offset: 8, derefs: derefs.to_vec(), offset, leaf }
    }

    #[test]
    fn paths_become_accesses() {
        let int = Leaf::Int { size: 4, signed: true };
        assert_eq!(walk(&[]).unwrap(), Access::Ctx { offset: 8, size: 8, signed: false });
        assert_eq!(walk(&["pid"]).unwrap(), read(&[], 0, int));
        assert_eq!(walk(&["comm"]).unwrap(), read(&[], 4, Leaf::String { size: 16 }));
        assert_eq!(walk(&["parent", "parent", "pid"]).unwrap(), read(&[24, 24], 0, int));
        assert_eq!(walk(&["parent", "cpus", "2"]).unwrap(), read(&[24], 40, int));
        assert_eq!(walk(&["1", "pid"]).unwrap(), read(&[], 48, int));
        let bits = Leaf::Bits { size: 1, shift: 3, width: 5, signed: false };
        assert_eq!(walk(&["state"]).unwrap(), read(&[], 20, bits));
    }

    #[test]
    fn what_can_t_be_reached_is_explained() {
        for (path, words) in [
            (&["pidd"][..], "arg.p is struct task and has no member pidd; did you mean pid?"),
            (&["parent", "pid", "x"], "arg.p.parent.pid is int, which has no members"),
            (&["cpus"], "ask for an element"),
            (&["cpus", "4"], "has 4 elements"),
            (&["0"], "ask for a member, such as pid, comm, flags, state"),
            (&["USER", "0"], "points to user memory; read it with string()"),
        ] {
            let error = walk(path).unwrap_err().to_string();
            assert!(error.contains(words), "{path:?}: {error}");
        }
    }
}
