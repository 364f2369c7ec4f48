//! Names for addresses. In: addresses that somebody looks at. Out: [`Symbol`]s, or words that say why there are none.
//!
//! Nothing is read before the first question. Kernel addresses are looked up in [`kallsyms`] and remembered one by one, so
//! that a frame of a program that has gone keeps its name. User addresses go through [`process`] while the process lives.

pub mod kallsyms;
mod process;
pub mod recorded;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use kallsyms::Kallsyms;

use crate::spec::StackSpace;

/// What is known about an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Symbol {
    /// The function's name; none where nothing covers the address.
    pub name: Option<String>,
    /// Bytes from the function's start.
    pub offset: u64,
    /// The kernel module or `bpf`, without brackets; of a user address, the file's path. None for the kernel itself.
    pub module: Option<String>,
}

impl Symbol {
    /// One word for people: `name+0x12 [module]`, or the bare address.
    pub fn spell(&self, address: u64) -> String {
        let mut text = match &self.name {
            Some(name) => format!("{name}+{:#x}", self.offset),
            None => format!("{address:#x}"),
        };
        if let Some(module) = &self.module {
            // Writing to a string can't fail.
            let _ = write!(text, " [{module}]");
        }
        text
    }
}

/// Names kernel addresses.
#[derive(Debug)]
pub struct KernelSymbolizer {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None until somebody asks.
    table: Option<Result<Kallsyms, String>>,
    read_at: Option<Instant>,
    known: FxHashMap<u64, Symbol>,
}

/// Modules and programs come and go; the table is read again at most so often, and only for an address that is new.
const STALE_AFTER: Duration = Duration::from_secs(1);

impl KernelSymbolizer {
    /// The one of this process, for the running kernel.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<KernelSymbolizer>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Arc::new(Self::from_file("/proc/kallsyms"))))
    }

    /// One that reads another file of the same form, such as another machine's.
    pub fn from_file(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), state: Mutex::default() }
    }

    /// Names addresses, in their order.
    pub fn symbolize(&self, addresses: &[u64]) -> Vec<Symbol> {
        let mut state = self.lock();
        addresses.iter().map(|&address| state.symbol(&self.path, address)).collect()
    }

    /// Why kernel addresses have no names here, and what to do; none if they have.
    pub fn explain_restriction(&self) -> Option<String> {
        let mut state = self.lock();
        let path = self.path.display();
        match state.table(&self.path) {
            Ok(table) if table.is_hidden() => Some(format!(
                "kernel addresses have no names: {path} shows every address as 0 ({}). Run as root or with CAP_SYSLOG; \
                 if that is not enough, `sysctl kernel.kptr_restrict=1`",
                restriction()
            )),
            Ok(table) if table.is_empty() => {
                Some(format!("kernel addresses have no names: {path} is empty (a kernel without CONFIG_KALLSYMS?)"))
            }
            Ok(_) => None,
            Err(error) => Some(format!("kernel addresses have no names: {path} can't be read: {error}")),
        }
    }

    /// A panic elsewhere leaves nothing half done: the table and the names are replaced whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the frames of a stack of this machine, innermost first; see [`recorded::places`].
pub fn symbolize_stack(space: StackSpace, pid: u32, addresses: &[u64]) -> Vec<Symbol> {
    named_frames(addresses, |places| match space {
        StackSpace::Kernel => KernelSymbolizer::shared().symbolize(places),
        StackSpace::User => symbolize_user(pid, places).unwrap_or_else(|| vec![Symbol::default(); places.len()]),
    })
}

/// The symbols of the places where frames called, as those of their return addresses.
pub(crate) fn named_frames(addresses: &[u64], symbolize: impl FnOnce(&[u64]) -> Vec<Symbol>) -> Vec<Symbol> {
    let mut symbols = symbolize(&recorded::places(addresses).collect::<Vec<_>>());
    for symbol in symbols.iter_mut().skip(1).filter(|symbol| symbol.name.is_some()) {
        symbol.offset += 1;
    }
    symbols
}

/// Names the addresses of a process; none if it has ended, or may not be looked at.
pub fn symbolize_user(pid: u32, addresses: &[u64]) -> Option<Vec<Symbol>> {
    process::symbolize(pid, addresses)
}

impl State {
    fn table(&mut self, path: &Path) -> Result<&Kallsyms, &String> {
        let read_at = &mut self.read_at;
        let table = self.table.get_or_insert_with(|| {
            *read_at = Some(Instant::now());
            Kallsyms::read(path).map_err(|error| error.to_string())
        });
        table.as_ref()
    }

    fn symbol(&mut self, path: &Path, address: u64) -> Symbol {
        if let Some(known) = self.known.get(&address) {
            return known.clone();
        }
        let is_fixed = self.table(path).is_ok_and(|table| table.is_core(address));
        if !is_fixed && self.read_at.is_none_or(|at| at.elapsed() > STALE_AFTER) {
            // What lies outside of the kernel proper may have been loaded since.
            self.table = None;
        }
        let symbol = self.table(path).map(|table| table.find(address)).unwrap_or_default();
        self.known.insert(address, symbol.clone());
        symbol
    }
}

fn restriction() -> String {
    let setting = |name: &str| {
        let value = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_else(|_| "unknown".into());
        format!("kernel.{name} is {}", value.trim())
    };
    format!("{}, {}", setting("kptr_restrict"), setting("perf_event_paranoid"))
}
