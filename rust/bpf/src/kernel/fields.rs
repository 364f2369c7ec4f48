//! The fields of a target, as the compiler asks for them. In: a `format` or BTF. Out: [`Access`]es, or what is near.

use std::rc::Rc;

use spile_core::error::Error;
use spile_core::names::ValueNames;
use spile_core::spec::PathStep;

use super::btf::path::{self, follow, follow_pointee};
use super::btf::{Btf, Kind};
use super::format::{self, FormatField};
use super::nearest::{nearest, proposal};
use super::symbols;
use crate::compile::{Access, Fields};

/// The most arguments that a raw tracepoint has (`MAX_BPF_FUNC_ARGS`).
const MAX_ARGUMENTS: u32 = 12;

/// A classic tracepoint's fields.
#[derive(Debug)]
pub struct TracepointFields {
    fields: Vec<FormatField>,
    format: String,
    target: String,
    btf: Option<Rc<Btf>>,
}

impl TracepointFields {
    /// From the text of its `format`; `btf`, where there is one, lets paths go on behind pointers.
    pub fn new(target: String, format: &str, btf: Option<Rc<Btf>>) -> Self {
        Self { fields: format::parse(format), format: format.to_owned(), target, btf }
    }

    /// Names and types.
    pub fn described(&self) -> Vec<(String, String)> {
        self.fields.iter().map(|field| (field.name.clone(), field.ty.clone())).collect()
    }

    fn field(&self, step: &PathStep) -> Result<&FormatField, Error> {
        let found = match step {
            PathStep::Name(name) => self.fields.iter().find(|field| field.name == *name),
            PathStep::Index(index) => self.fields.get(*index as usize),
        };
        found.ok_or_else(|| match step {
            PathStep::Name(name) if name.starts_with("common_") => not_found(format!(
                "the kernel hides a record's common fields, such as arg.{name}, from programs; capture tid, pid or cpu"
            )),
            PathStep::Name(name) => {
                let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
                missing(&self.target, &format!(".{name}"), name, &names)
            }
            PathStep::Index(index) => not_found(format!(
                "{} has {} fields, and arg[{index}] asks for another",
                self.target,
                self.fields.len()
            )),
        })
    }
}

impl TracepointFields {
    /// Whether a field tells which system call it was.
    fn tells_syscall(&self, field: &str) -> bool {
        let of =
            |category: &str| self.target.strip_prefix("tracepoint:").is_some_and(|name| name.starts_with(category));
        (field == "id" && of("raw_syscalls:")) || (field == "__syscall_nr" && of("syscalls:"))
    }
}

impl Fields for TracepointFields {
    fn resolve(&self, path: &[PathStep]) -> Result<Access, Error> {
        let (first, rest) = path.split_first().ok_or_else(|| not_found("arg alone is no field".into()))?;
        let field = self.field(first)?;
        let name = &field.name;
        let access = field.access.clone().map_err(|why| not_found(format!("arg.{name} of {} {why}", self.target)))?;
        match (&access, rest) {
            (_, []) => Ok(access),
            (&Access::CtxArray { offset, elem_size, signed, count }, &[PathStep::Index(index)]) if index < count => {
                Ok(Access::Ctx { offset: offset + index * u32::from(elem_size), size: elem_size, signed })
            }
            (&Access::CtxArray { count, .. }, [PathStep::Index(index)]) => {
                Err(not_found(format!("arg.{name} has {count} elements, and [{index}] asks for another")))
            }
            (&Access::CtxString { offset, size }, &[PathStep::Index(index)]) if index < size => {
                Ok(Access::Ctx { offset: offset + index, size: 1, signed: false })
            }
            (&Access::Ctx { offset, size: 8, .. }, rest) => match (field.pointee(), &self.btf) {
                (Some(structure), Some(btf)) => {
                    let ty = btf.structure(structure).ok_or_else(|| {
                        not_found(format!(
                            "arg.{name} points to struct {structure}, which the kernel's BTF doesn't describe"
                        ))
                    })?;
                    follow_pointee(offset, ty, name, rest)
                }
                _ => Err(not_found(format!("arg.{name} is {}, which has no members", field.ty))),
            },
            _ => Err(not_found(format!("arg.{name} is {}, which has no members", field.ty))),
        }
    }

    /// As the format has them, else as the field's type does.
    fn names(&self, path: &[PathStep]) -> ValueNames {
        let Some((first, rest)) = path.split_first() else { return ValueNames::default() };
        let Ok(field) = self.field(first) else { return ValueNames::default() };
        let printed = symbols::of_field(&self.format, &field.name);
        let btf = self.btf.as_deref();
        match (rest, field.pointee(), field.enumeration()) {
            ([], ..) if !printed.is_empty() => printed,
            ([], ..) if self.tells_syscall(&field.name) => ValueNames::of_syscalls(),
            ([], _, Some(name)) => {
                let found = btf.and_then(|btf| btf.find(|kind| matches!(kind, Kind::Enum | Kind::Enum64), name));
                found.map_or_else(ValueNames::default, |ty| path::names(ty, &[]))
            }
            ([_, ..], Some(structure), _) => {
                let found = btf.and_then(|btf| btf.structure(structure));
                found.map_or_else(ValueNames::default, |ty| path::names(ty, rest))
            }
            _ => ValueNames::default(),
        }
    }

    fn all(&self) -> Vec<(String, Vec<PathStep>)> {
        let can_be = self.fields.iter().filter(|field| field.access.is_ok());
        can_be.map(|field| (field.name.clone(), vec![PathStep::Name(field.name.clone())])).collect()
    }
}

/// A raw tracepoint's arguments.
#[derive(Debug)]
pub struct RawTracepointFields {
    name: String,
    /// Names (where BTF has them) and types.
    arguments: Vec<(String, u32)>,
    btf: Option<Rc<Btf>>,
}

impl RawTracepointFields {
    /// From BTF; without it there are only positions. None if BTF knows no such tracepoint.
    pub fn new(name: &str, btf: Option<Rc<Btf>>) -> Option<Self> {
        let arguments = match &btf {
            Some(btf) => arguments(btf, name)?,
            None => Vec::new(),
        };
        Some(Self { name: name.into(), arguments, btf })
    }

    /// Names and types.
    pub fn described(&self) -> Vec<(String, String)> {
        let Some(btf) = &self.btf else { return Vec::new() };
        let spell = |ty: u32| btf.get(ty).map_or_else(|_| "?".into(), |ty| ty.spelling());
        self.arguments.iter().map(|(name, ty)| (name.clone(), spell(*ty))).collect()
    }

    fn position(&self, step: &PathStep) -> Result<usize, Error> {
        let target = format!("raw_tracepoint:{}", self.name);
        match step {
            PathStep::Index(index) if (*index as usize) < self.arguments.len() => Ok(*index as usize),
            PathStep::Index(index) => Err(not_found(format!(
                "{target} has {} arguments, and arg[{index}] asks for another",
                self.arguments.len()
            ))),
            PathStep::Name(name) => {
                let names: Vec<&str> = self.arguments.iter().map(|(name, _)| name.as_str()).collect();
                let position = names.iter().position(|known| known == name);
                position.ok_or_else(|| missing(&target, &format!(".{name}"), name, &names))
            }
        }
    }
}

impl Fields for RawTracepointFields {
    fn resolve(&self, path: &[PathStep]) -> Result<Access, Error> {
        let (first, rest) = path.split_first().ok_or_else(|| not_found("arg alone is no field".into()))?;
        let Some(btf) = &self.btf else {
            return match path {
                [PathStep::Index(index)] if *index < MAX_ARGUMENTS => {
                    Ok(Access::Ctx { offset: 8 * index, size: 8, signed: false })
                }
                _ => Err(Error::Unsupported {
                    message: "without the kernel's BTF a raw tracepoint has only numbered arguments, such as arg[0]"
                        .into(),
                }),
            };
        };
        let position = self.position(first)?;
        let (name, ty) = &self.arguments[position];
        follow(8 * position as u32, btf.get(*ty)?, name, rest)
    }

    fn names(&self, path: &[PathStep]) -> ValueNames {
        let named = || {
            let (first, rest) = path.split_first()?;
            let (name, ty) = self.arguments.get(self.position(first).ok()?)?;
            if self.name == "sys_enter" && name == "id" && rest.is_empty() {
                return Some(ValueNames::of_syscalls());
            }
            Some(path::names(self.btf.as_ref()?.get(*ty).ok()?, rest))
        };
        named().unwrap_or_default()
    }

    fn all(&self) -> Vec<(String, Vec<PathStep>)> {
        let path = |name: &String| vec![PathStep::Name(name.clone())];
        let all = self.arguments.iter().map(|(name, _)| (name.clone(), path(name)));
        all.filter(|(_, path)| self.resolve(path).is_ok()).collect()
    }
}

/// Whether there is a raw tracepoint of that name.
pub fn is_raw_tracepoint(btf: &Btf, name: &str) -> bool {
    btf.find(|kind| kind == Kind::Typedef, &format!("btf_trace_{name}")).is_some()
}

/// The names of all tracepoints in BTF: each has a type `btf_trace_NAME`.
pub fn raw_tracepoints(btf: &Btf) -> Vec<String> {
    let names = btf.all().filter(|ty| ty.kind() == Kind::Typedef);
    let names = names.filter_map(|ty| ty.name().strip_prefix(b"btf_trace_"));
    let mut names: Vec<String> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// The error for a raw tracepoint that isn't among `all`.
pub fn unknown_raw_tracepoint(name: &str, all: &[String]) -> Error {
    let near = nearest(name, all.iter().map(String::as_str));
    let hint = match (name.split_once(':'), near.is_empty()) {
        (Some((_, last)), _) if all.iter().any(|known| known == last) => {
            format!("; raw tracepoints have no category: raw_tracepoint:{last}")
        }
        (_, false) => format!("; did you mean {}?", near.join(", ")),
        (_, true) if name.starts_with("sys_enter_") || name.starts_with("sys_exit_") => {
            "; single system calls are classic tracepoints (tracepoint:syscalls:…), and the raw ones are sys_enter and \
             sys_exit"
                .into()
        }
        _ => " (it may belong to a module that isn't loaded)".into(),
    };
    Error::ProbeNotFound { message: format!("this kernel has no raw tracepoint {name}{hint}") }
}

/// The arguments of a tracepoint, without the first, which is the kernel's own. `__traceiter_NAME` (from 5.10) has their
/// names; before, `btf_trace_NAME` has their types.
fn arguments(btf: &Btf, name: &str) -> Option<Vec<(String, u32)>> {
    let iterator = btf.find(|kind| kind == Kind::Function, &format!("__traceiter_{name}"));
    let function = match iterator {
        Some(function) => function,
        None => {
            let pointer = btf.find(|kind| kind == Kind::Typedef, &format!("btf_trace_{name}"))?.target().ok()?;
            pointer.target().ok()?
        }
    };
    let named = function.parameters().skip(1).enumerate().map(|(index, parameter)| {
        let name = String::from_utf8_lossy(parameter.name).into_owned();
        (if name.is_empty() { format!("arg{index}") } else { name }, parameter.ty)
    });
    Some(named.collect())
}

fn missing(target: &str, spelled: &str, name: &str, names: &[&str]) -> Error {
    let near = proposal(name, names);
    let there = if near.is_empty() { format!("; it has {}", names.join(", ")) } else { near };
    not_found(format!("{target} has no field arg{spelled}{there}"))
}

fn not_found(message: String) -> Error {
    Error::FieldNotFound { message }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::btf::tests::Writer;
    use super::*;

    fn name(name: &str) -> PathStep {
        PathStep::Name(name.into())
    }

    fn btf() -> Rc<Btf> {
        let mut writer = Writer::new();
        let int = writer.int("int", 4, true);
        let short = writer.int("u16", 2, false);
        let sock = writer.structure("sock", 8, &[("port", short, 32, 0)]);
        let pointer = writer.pointer(sock);
        writer.function("__traceiter_seen", &[("__data", pointer), ("sk", pointer), ("many", int)]);
        let proto = writer.add(13, false, "", 0, 2, &[0, pointer, 0, int]);
        let to = writer.pointer(proto);
        writer.add(8, false, "btf_trace_old", to, 0, &[]);
        Rc::new(writer.btf())
    }

    const FORMAT: &str = "\tfield:const struct sock * sk;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;\n";

    #[test]
    fn a_format_s_fields_go_on_behind_pointers() {
        let fields = TracepointFields::new("tracepoint:x:y".into(), FORMAT, Some(btf()));
        let port = Access::Read {
            ctx_offset: 8,
            derefs: vec![],
            offset: 4,
            leaf: crate::compile::Leaf::Int { size: 2, signed: false },
        };
        assert_eq!(fields.resolve(&[name("sk"), name("port")]).unwrap(), port);
        let third = Access::Ctx { offset: 40, size: 8, signed: false };
        assert_eq!(fields.resolve(&[name("args"), PathStep::Index(3)]).unwrap(), third);
        assert_eq!(fields.resolve(&[PathStep::Index(1), PathStep::Index(3)]).unwrap(), third);
        for (path, words) in [
            (vec![name("skk")], "tracepoint:x:y has no field arg.skk; did you mean sk?"),
            (vec![name("zzz")], "has no field arg.zzz; it has sk, args"),
            (vec![name("args"), PathStep::Index(6)], "has 6 elements"),
            (vec![name("common_pid")], "capture tid, pid or cpu"),
            (vec![name("args"), name("x")], "has no members"),
            (vec![PathStep::Index(2)], "has 2 fields"),
            (vec![], "no field"),
        ] {
            let error = fields.resolve(&path).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let names: Vec<String> = fields.all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["sk", "args"]);
    }

    #[test]
    fn a_raw_tracepoint_s_arguments_have_names_and_numbers() {
        let fields = RawTracepointFields::new("seen", Some(btf())).unwrap();
        let many = Access::Ctx { offset: 8, size: 4, signed: true };
        assert_eq!(fields.resolve(&[name("many")]).unwrap(), many);
        assert_eq!(fields.resolve(&[PathStep::Index(1)]).unwrap(), many);
        assert!(matches!(fields.resolve(&[name("sk"), name("port")]).unwrap(), Access::Read { offset: 4, .. }));
        assert!(fields.resolve(&[PathStep::Index(2)]).unwrap_err().to_string().contains("has 2 arguments"));
        assert_eq!(fields.described()[0], ("sk".into(), "struct sock *".into()));
        assert_eq!(fields.all().len(), 2);
        let old = RawTracepointFields::new("old", Some(btf())).unwrap();
        assert_eq!(old.described(), [("arg0".into(), "int".into())]);
        assert!(RawTracepointFields::new("unheard", Some(btf())).is_none());
    }

    #[test]
    fn values_have_the_names_of_the_format_or_of_the_type() {
        let mut writer = Writer::new();
        let mode = writer.enumeration("mode", 4, false, &[("MODE_ABS", 0), ("MODE_REL", 1)]);
        let named = writer.add(8, false, "mode_t", mode, 0, &[]);
        let timer = writer.structure("timer", 8, &[("count", mode, 0, 0), ("mode", named, 32, 3)]);
        let pointer = writer.pointer(timer);
        writer.function("__traceiter_fired", &[("__data", pointer), ("timer", pointer), ("mode", mode)]);
        let btf = Rc::new(writer.btf());
        let format = "\tfield:struct timer * timer;\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:enum mode mode;\toffset:16;\tsize:4;\tsigned:0;\n\
            \tfield:unsigned int vec;\toffset:20;\tsize:4;\tsigned:0;\n\
            \tfield:enum unheard other;\toffset:24;\tsize:4;\tsigned:0;\n\n\
            print fmt: \"%s %s\", __print_symbolic(REC->vec, { 0, \"HI\" }), __print_symbolic(REC->mode, { MODE_ABS, \"ABS\" })\n";
        let fields = TracepointFields::new("tracepoint:x:y".into(), format, Some(Rc::clone(&btf)));
        let first = |names: ValueNames| names.name(0).map(str::to_owned);
        for (path, expected) in [
            (vec![name("vec")], Some("HI")),
            (vec![name("mode")], Some("MODE_ABS")),
            (vec![PathStep::Index(1)], Some("MODE_ABS")),
            (vec![name("timer"), name("mode")], Some("MODE_ABS")),
            (vec![name("timer"), name("none")], None),
            (vec![name("timer")], None),
            (vec![name("other")], None),
            (vec![name("none")], None),
            (vec![], None),
        ] {
            assert_eq!(first(fields.names(&path)).as_deref(), expected, "{path:?}");
        }
        let raw = RawTracepointFields::new("fired", Some(btf)).unwrap();
        assert_eq!(first(raw.names(&[name("mode")])).as_deref(), Some("MODE_ABS"));
        assert_eq!(raw.names(&[name("timer"), name("mode")]).value("MODE_REL"), Some(1));
        assert!(raw.names(&[name("timer")]).is_empty() && raw.names(&[PathStep::Index(7)]).is_empty());
    }

    #[test]
    fn without_btf_there_are_positions() {
        let fields = RawTracepointFields::new("seen", None).unwrap();
        assert_eq!(fields.resolve(&[PathStep::Index(2)]).unwrap(), Access::Ctx { offset: 16, size: 8, signed: false });
        assert!(matches!(fields.resolve(&[name("sk")]), Err(Error::Unsupported { .. })));
    }
}
