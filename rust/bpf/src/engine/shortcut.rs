//! Classic tracepoints that are better served as raw ones. In: what a probe wants of one. Out: its fields as raw
//! arguments, if they are exactly that.
//!
//! A classic tracepoint first writes its whole record (some 45 ns), and the kernel skips its programs whenever any other
//! classic program is running on that CPU; a raw one hands over its arguments, and its programs only keep out themselves.
//! Where a probe wants no field of the record, or only fields known to be an argument unchanged, nothing but the cost and
//! the misses differ. A record's other fields are made by code that no description tells of, so they stay classic.

use spile_core::error::Error;
use spile_core::spec::PathStep;

use super::kernel_view::KernelView;
use super::place::Wants;
use crate::compile::{Access, Fields};
use crate::kernel::fields::is_raw_tracepoint;

/// Category, name, field, and the argument that the field is: `TRACE_EVENT_SYSCALL` in include/trace/events/syscalls.h.
const SAME: [(&str, &str, &str, u32); 2] =
    [("raw_syscalls", "sys_enter", "id", 1), ("raw_syscalls", "sys_exit", "ret", 1)];

/// A tracepoint's fields that are its arguments, all of them `long`s.
#[derive(Debug)]
pub(super) struct Shortcut {
    fields: Vec<(&'static str, u32)>,
}

/// The fields, if the raw tracepoint serves this probe as well.
pub(super) fn find(category: &str, name: &str, wants: &Wants<'_>, kernel: &KernelView) -> Option<Shortcut> {
    let same = SAME.iter().filter(|known| (known.0, known.1) == (category, name));
    let shortcut = Shortcut { fields: same.map(|known| (known.2, known.3)).collect() };
    let is_same = |path: &&[PathStep]| shortcut.resolve(path).is_ok();
    // The raw tracepoints of system calls have one more frame of their own, whose number isn't sure.
    let stack_differs = wants.kernel_stack && category == "raw_syscalls";
    if wants.everything || stack_differs || !wants.paths.iter().all(is_same) {
        return None;
    }
    let btf = kernel.btf().ok()?;
    is_raw_tracepoint(&btf, name).then_some(shortcut)
}

impl Fields for Shortcut {
    fn resolve(&self, path: &[PathStep]) -> Result<Access, Error> {
        let of = |name: &str| self.fields.iter().find(|field| field.0 == name);
        let found = match path {
            [PathStep::Name(name)] => of(name),
            _ => None,
        };
        match found {
            Some((_, argument)) => Ok(Access::Ctx { offset: 8 * argument, size: 8, signed: true }),
            None => Err(Error::FieldNotFound { message: "no raw argument".into() }),
        }
    }

    fn all(&self) -> Vec<(String, Vec<PathStep>)> {
        self.fields.iter().map(|(name, _)| ((*name).into(), vec![PathStep::Name((*name).into())])).collect()
    }
}
