//! Kernel functions. In: a function's name. Out: whose it is ([`owner`]), what it takes and returns and where that is
//! ([`FunctionFields`]), which functions there are ([`names`]), by which means they can be probed here ([`means`]), and why one
//! can't be ([`reason`], [`unloaded`]).

pub mod means;
pub mod names;
pub mod owner;
pub mod reason;
pub mod unloaded;

use std::rc::Rc;

use spile_core::error::Error;
use spile_core::names::ValueNames;
use spile_core::spec::PathStep;

use super::btf::path::{follow, follow_from, names as names_along};
use super::btf::{Btf, Kind, Type};
use super::nearest::proposal;
use crate::compile::{Access, Fields, Registers};
use owner::{Found, Types};

/// What a program at a function has for its context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Arguments, each in 8 bytes or a multiple of them, and behind them the result.
    Trampoline,
    /// The registers.
    Registers(Registers),
}

/// When it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the function's first instruction.
    Entry,
    /// After its last.
    Return,
}

/// Where an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Context(u32),
    /// So far behind the stack pointer, whose own offset in the context comes first.
    Stack(u32, u32),
}

#[derive(Debug)]
struct Argument {
    name: String,
    ty: u32,
    place: Place,
}

/// A function's arguments and result.
#[derive(Debug)]
pub struct FunctionFields {
    name: String,
    view: View,
    moment: Moment,
    described: Option<Described>,
}

/// What BTF says of it.
#[derive(Debug)]
struct Described {
    btf: Rc<Btf>,
    arguments: Vec<Argument>,
    result: u32,
    result_at: u32,
}

/// The function of that name in the kernel's types.
pub fn find<'b>(btf: &'b Btf, name: &str) -> Option<Type<'b>> {
    btf.find(|kind| kind == Kind::Function, name)
}

impl FunctionFields {
    /// From BTF; where that is missing, or doesn't know the function, there are only numbered registers.
    pub fn new(found: &Found, view: View, moment: Moment) -> Result<Self, Error> {
        let described = found.types.as_ref().map(|types| describe(types, view)).transpose()?;
        Ok(Self { name: found.spelled(), view, moment, described })
    }

    /// Names and types, and those of the result as `ret`.
    pub fn described(&self) -> Vec<(String, String)> {
        let Some(described) = &self.described else { return Vec::new() };
        let spell = |ty: u32| described.btf.get(ty).map_or_else(|_| "?".into(), |ty| ty.spelling());
        let arguments = described.arguments.iter().map(|argument| (argument.name.clone(), spell(argument.ty)));
        let result = (self.moment == Moment::Return).then(|| ("ret".to_owned(), spell(described.result)));
        arguments.chain(result).collect()
    }

    fn spelling(&self) -> String {
        match self.moment {
            Moment::Entry => format!("function:{}", self.name),
            Moment::Return => format!("function_return:{}", self.name),
        }
    }

    fn numbered(&self, path: &[PathStep]) -> Result<Access, Error> {
        let untyped = || Error::FieldNotFound {
            message: format!(
                "the kernel's BTF doesn't describe {}, so its arguments have numbers and no types: arg[0] and so on",
                self.name
            ),
        };
        let (View::Registers(registers), [PathStep::Index(index)]) = (self.view, path) else { return Err(untyped()) };
        let offset = registers.arguments.get(*index as usize);
        offset.map(|offset| Access::Ctx { offset: *offset, size: 8, signed: false }).ok_or_else(|| {
            not_found(format!(
                "arg[{index}] of {}: the first {} are in registers",
                self.name,
                registers.arguments.len()
            ))
        })
    }

    fn argument<'a>(&self, described: &'a Described, step: &PathStep) -> Result<&'a Argument, Error> {
        let arguments = &described.arguments;
        match step {
            PathStep::Index(index) => arguments.get(*index as usize).ok_or_else(|| {
                let count = arguments.len();
                not_found(format!("{} has {count} arguments, and arg[{index}] asks for another", self.spelling()))
            }),
            PathStep::Name(name) => arguments.iter().find(|known| known.name == *name).ok_or_else(|| {
                let names: Vec<&str> = arguments.iter().map(|argument| argument.name.as_str()).collect();
                let near = proposal(name, &names);
                let there = match (near.is_empty(), names.is_empty()) {
                    (false, _) => near,
                    (true, false) => format!("; it has {}", names.join(", ")),
                    (true, true) => "; it has none".into(),
                };
                not_found(format!("{} has no argument arg.{name}{there}", self.spelling()))
            }),
        }
    }
}

impl Fields for FunctionFields {
    fn resolve(&self, path: &[PathStep]) -> Result<Access, Error> {
        let (first, rest) = path.split_first().ok_or_else(|| not_found("arg alone is no argument".into()))?;
        let Some(described) = &self.described else { return self.numbered(path) };
        let argument = self.argument(described, first)?;
        let ty = described.btf.get(argument.ty)?;
        match argument.place {
            Place::Context(offset) => follow(offset, ty, &argument.name, rest),
            Place::Stack(..) if self.moment == Moment::Return => Err(Error::Unsupported {
                message: format!(
                    "{}: arg.{} is on the stack, where it may be another by the return; take attach=\"fentry\", where the \
                     kernel has that, or probe function:{}",
                    self.spelling(),
                    argument.name,
                    self.name
                ),
            }),
            Place::Stack(pointer, offset) => follow_from(pointer, offset, ty, &argument.name, rest),
        }
    }

    fn names(&self, path: &[PathStep]) -> ValueNames {
        let (Some(described), Some((first, rest))) = (&self.described, path.split_first()) else {
            return ValueNames::default();
        };
        let ty = self.argument(described, first).and_then(|argument| described.btf.get(argument.ty));
        ty.map_or_else(|_| ValueNames::default(), |ty| names_along(ty, rest))
    }

    fn ret(&self) -> Result<Access, Error> {
        if self.moment == Moment::Entry {
            let message =
                format!("{} fires before there is a ret: function_return:{} has it", self.spelling(), self.name);
            return Err(Error::FieldNotFound { message });
        }
        match (&self.described, self.view) {
            (Some(described), _) if described.result == 0 => Err(not_found(format!("{} returns nothing", self.name))),
            (Some(described), _) => follow(described.result_at, described.btf.get(described.result)?, "ret", &[]),
            (None, View::Registers(registers)) => Ok(Access::Ctx { offset: registers.result, size: 8, signed: true }),
            (None, View::Trampoline) => Err(not_found(format!("the kernel's BTF doesn't describe {}", self.name))),
        }
    }

    fn all(&self) -> Vec<(String, Vec<PathStep>)> {
        let arguments = self.described.iter().flat_map(|described| &described.arguments);
        let all = arguments.map(|argument| (argument.name.clone(), vec![PathStep::Name(argument.name.clone())]));
        all.filter(|(_, path)| self.resolve(path).is_ok()).collect()
    }
}

fn describe(types: &Types, view: View) -> Result<Described, Error> {
    let btf = Rc::clone(&types.btf);
    let function = btf.get(types.id)?;
    let result = function.target()?.target()?.id();
    let mut layout = Layout { view, used: 0, stack: 0 };
    let mut arguments = Vec::new();
    for (index, parameter) in function.parameters().enumerate() {
        // The dots of a variadic function.
        if parameter.ty == 0 {
            break;
        }
        let (resolved, _) = btf.get(parameter.ty)?.resolved()?;
        let place = layout.next(resolved);
        let name = String::from_utf8_lossy(parameter.name).into_owned();
        arguments.push(Argument {
            name: if name.is_empty() { format!("arg{index}") } else { name },
            ty: parameter.ty,
            place,
        });
    }
    let result_at = match view {
        View::Trampoline => 8 * layout.used,
        View::Registers(registers) => registers.result,
    };
    Ok(Described { btf, arguments, result, result_at })
}

/// Hands out places to arguments, in their order.
struct Layout {
    view: View,
    /// Words of the context, or registers.
    used: u32,
    /// Bytes on the stack.
    stack: u32,
}

impl Layout {
    fn next(&mut self, ty: Type<'_>) -> Place {
        let is_struct = matches!(ty.kind(), Kind::Struct | Kind::Union);
        let words = if is_struct { ty.size().div_ceil(8).max(1) } else { 1 };
        let registers = match self.view {
            View::Trampoline => {
                let place = Place::Context(8 * self.used);
                self.used = self.used.saturating_add(words);
                return place;
            }
            View::Registers(registers) => registers,
        };
        // A structure of more than two words lies on the stack, and so does what finds too few registers left.
        let end = self.used as usize + words as usize;
        match registers.arguments.get(self.used as usize) {
            Some(offset) if words <= 2 && end <= registers.arguments.len() => {
                self.used += words;
                Place::Context(*offset)
            }
            _ => {
                let at = registers.arguments_on_stack.saturating_add(self.stack);
                self.stack = self.stack.saturating_add(words.saturating_mul(8));
                Place::Stack(registers.stack_pointer, at)
            }
        }
    }
}

fn not_found(message: String) -> Error {
    Error::FieldNotFound { message }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::btf::tests::Writer;
    use super::*;
    use crate::compile::Leaf;

    /// System V's: rdi, rsi, rdx, rcx, r8, r9; what doesn't fit lies behind the return address.
    const REGISTERS: Registers = Registers {
        arguments: &[112, 104, 96, 88, 72, 64],
        result: 80,
        stack_pointer: 152,
        arguments_on_stack: 8,
        popped_by_return: 8,
    };

    /// int f(struct pair by_value, struct file *file, struct large big, short s, long a, long b, long c, ...)
    fn btf() -> Rc<Btf> {
        let mut writer = Writer::new();
        let int = writer.int("int", 4, true);
        let short = writer.int("short", 2, true);
        let long = writer.int("long", 8, true);
        let pair = writer.structure("pair", 16, &[("x", long, 0, 0), ("y", long, 64, 0)]);
        let large = writer.structure("large", 24, &[("z", int, 128, 0)]);
        let file = writer.structure("file", 16, &[("mode", int, 64, 0)]);
        let pointer = writer.pointer(file);
        let words = [
            ("by_value", pair),
            ("file", pointer),
            ("big", large),
            ("s", short),
            ("a", long),
            ("b", long),
            ("c", long),
            ("", 0),
        ];
        writer.returning("f", &words, int);
        writer.returning("nothing", &[("", long)], 0);
        Rc::new(writer.btf())
    }

    fn fields(name: &str, view: View, moment: Moment) -> FunctionFields {
        let unknown = Found { name: name.into(), module: None, types: None };
        let found = Found::described(&btf(), None, name).unwrap_or(unknown);
        FunctionFields::new(&found, view, moment).unwrap()
    }

    fn path(steps: &[&str]) -> Vec<PathStep> {
        steps.iter().map(|step| step.parse().map_or_else(|_| PathStep::Name((*step).into()), PathStep::Index)).collect()
    }

    #[test]
    fn arguments_are_where_the_convention_puts_them() {
        let fields = fields("f", View::Registers(REGISTERS), Moment::Entry);
        let leaf = Leaf::Int { size: 4, signed: true };
        for (steps, expected) in [
            // The pair takes two registers, so the file is in the third.
            (&["file", "mode"][..], Access::Read { ctx_offset: 96, derefs: vec![], offset: 8, leaf }),
            (&["s"], Access::Ctx { offset: 88, size: 2, signed: true }),
            (&["3"], Access::Ctx { offset: 88, size: 2, signed: true }),
            (&["b"], Access::Ctx { offset: 64, size: 8, signed: true }),
            // What is large lies on the stack, first behind the return address, and the seventh word behind that.
            (&["big", "z"], Access::Read { ctx_offset: 152, derefs: vec![], offset: 8 + 16, leaf }),
            (
                &["c"],
                Access::Read {
                    ctx_offset: 152,
                    derefs: vec![],
                    offset: 8 + 24,
                    leaf: Leaf::Int { size: 8, signed: true },
                },
            ),
        ] {
            assert_eq!(fields.resolve(&path(steps)).unwrap(), expected, "{steps:?}");
        }
    }

    #[test]
    fn a_trampoline_has_words_and_then_the_result() {
        let fields = fields("f", View::Trampoline, Moment::Return);
        let file = fields.resolve(&path(&["file"])).unwrap();
        assert_eq!(file, Access::Ctx { offset: 16, size: 8, signed: false });
        let last = fields.resolve(&path(&["c"])).unwrap();
        assert_eq!(last, Access::Ctx { offset: 8 * 9, size: 8, signed: true });
        assert_eq!(fields.ret().unwrap(), Access::Ctx { offset: 8 * 10, size: 4, signed: true });
        assert_eq!(fields.described().last().unwrap(), &("ret".into(), "int".into()));
        let names: Vec<String> = fields.all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["file", "s", "a", "b", "c"], "what is passed by value can't be captured as a whole");
    }

    #[test]
    fn what_isn_t_there_is_explained() {
        let say = |name, view, moment, steps: &[&str]| {
            fields(name, view, moment).resolve(&path(steps)).unwrap_err().to_string()
        };
        let registers = View::Registers(REGISTERS);
        for (error, words) in [
            (say("f", registers, Moment::Entry, &["flie"]), "function:f has no argument arg.flie; did you mean file?"),
            (say("f", registers, Moment::Entry, &["7"]), "has 7 arguments, and arg[7]"),
            (say("f", registers, Moment::Return, &["c"]), "arg.c is on the stack"),
            (say("unheard", registers, Moment::Entry, &["x"]), "doesn't describe unheard"),
            (say("unheard", registers, Moment::Entry, &["6"]), "the first 6 are in registers"),
            (say("nothing", registers, Moment::Entry, &["x"]), "it has arg0"),
            (fields("nothing", registers, Moment::Return).ret().unwrap_err().to_string(), "nothing returns nothing"),
            (fields("f", registers, Moment::Entry).ret().unwrap_err().to_string(), "function_return:f has it"),
        ] {
            assert!(error.contains(words), "{error}");
        }
        let unheard = fields("unheard", registers, Moment::Return);
        assert_eq!(unheard.ret().unwrap(), Access::Ctx { offset: 80, size: 8, signed: true });
        let first = fields("unheard", registers, Moment::Entry).resolve(&path(&["0"])).unwrap();
        assert_eq!(first, Access::Ctx { offset: 112, size: 8, signed: false });
    }
}
