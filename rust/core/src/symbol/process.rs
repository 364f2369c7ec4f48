//! Names of user addresses. In: a living process and addresses in it. Out: names from its files' symbol tables.
//!
//! blazesym does the work. Its symbolizer can't leave its thread, so each thread that asks has its own, which keeps the
//! files' tables; what a process maps is read anew each time, for a pid may come back as another process.

use std::cell::RefCell;

use blazesym::Pid;
use blazesym::symbolize::source::{Process, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};

use super::Symbol;

thread_local! {
    static SYMBOLIZER: RefCell<Option<Symbolizer>> = const { RefCell::new(None) };
}

pub(super) fn symbolize(pid: u32, addresses: &[u64]) -> Option<Vec<Symbol>> {
    if pid == 0 {
        return None;
    }
    SYMBOLIZER.with_borrow_mut(|symbolizer| {
        let symbolizer = symbolizer.get_or_insert_with(|| Symbolizer::builder().enable_code_info(false).build());
        let mut process = Process::new(Pid::from(pid));
        process.debug_syms = false;
        let found = symbolizer.symbolize(&Source::Process(process), Input::AbsAddr(addresses)).ok()?;
        Some(found.iter().map(symbol).collect())
    })
}

fn symbol(found: &Symbolized<'_>) -> Symbol {
    let Some(found) = found.as_sym() else { return Symbol::default() };
    Symbol {
        name: Some(found.name.clone().into_owned()),
        offset: found.offset as u64,
        module: found.module.as_ref().map(|module| module.to_string_lossy().into_owned()),
    }
}
