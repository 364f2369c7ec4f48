//! Whose a function is. In: its name, as `vfs_read` or, with its module's, `overlay:ovl_open`. Out: a [`Found`]: the kernel's
//! own or a loaded module's, with its types where there are any. Why one isn't there, [`super::reason`] says.
//!
//! Each module's types are read once, and the kernel's table of symbols only for what its own types don't describe.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use spile_core::error::Error;

use super::super::btf::{Btf, module};

/// The kernel's own table of symbols.
pub const SYMBOLS: &str = "/proc/kallsyms";

/// What stands before functions and is none.
const PADDING: [&str; 2] = ["__pfx_", "__cfi_"];

/// A function that is there.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name alone.
    pub name: String,
    /// Its module's.
    pub module: Option<String>,
    /// What describes it.
    pub types: Option<Types>,
}

/// Where a function is described.
#[derive(Debug, Clone)]
pub struct Types {
    /// The kernel's types, or a module's that follow on them.
    pub btf: Rc<Btf>,
    /// The function's number in them.
    pub id: u32,
}

/// A module's types as the kernel has them, for programs that are made for its functions.
#[derive(Clone)]
pub struct Object {
    module: String,
    /// Their descriptor.
    pub fd: Arc<OwnedFd>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.module)
    }
}

/// A function's module, where it is named, and its own name.
pub fn parts(spelled: &str) -> (Option<&str>, &str) {
    spelled.split_once(':').map_or((None, spelled), |(module, name)| (Some(module), name))
}

impl Found {
    /// Its name, behind its module's.
    pub fn spelled(&self) -> String {
        self.module.as_ref().map_or_else(|| self.name.clone(), |module| format!("{module}:{}", self.name))
    }

    /// One of the types' functions.
    pub fn described(btf: &Rc<Btf>, module: Option<&str>, name: &str) -> Option<Self> {
        let id = super::find(btf, name)?.id();
        let types = Some(Types { btf: Rc::clone(btf), id });
        Some(Self { name: name.into(), module: module.map(str::to_owned), types })
    }
}

/// What was found out so far of functions and their modules.
#[derive(Debug, Default)]
pub struct Owners {
    symbols: OnceCell<String>,
    modules: RefCell<HashMap<String, Option<Rc<Btf>>>>,
    objects: RefCell<HashMap<String, Result<Object, Error>>>,
    addresses: OnceCell<HashMap<String, Option<u64>>>,
}

impl Owners {
    /// Where a function begins, if that is told and there is one of its name.
    pub fn address(&self, found: &Found) -> Option<u64> {
        let all = self.addresses.get_or_init(|| addresses(self.symbols()));
        *all.get(&found.spelled())?
    }

    /// Finds a function. The kernel's own goes before a module's of the same name.
    pub fn find(&self, spelled: &str, kernel: Option<&Rc<Btf>>) -> Option<Found> {
        let (module, name) = parts(spelled);
        if module.is_none()
            && let Some(found) = kernel.and_then(|kernel| Found::described(kernel, None, name))
        {
            return Some(found);
        }
        if let Some(module) = module
            && let Some(found) =
                self.types_of(module, kernel).and_then(|btf| Found::described(&btf, Some(module), name))
        {
            return Some(found);
        }
        let is_it = |(known, owner): &(&str, Option<&str>)| *known == name && (module.is_none() || *owner == module);
        let owner = functions(self.symbols()).find(is_it)?.1;
        let typed = owner.and_then(|owner| Found::described(&self.types_of(owner, kernel)?, Some(owner), name));
        Some(typed.unwrap_or_else(|| Found { name: name.into(), module: owner.map(str::to_owned), types: None }))
    }

    /// The types of a loaded module, where it has any.
    pub fn types_of(&self, module: &str, kernel: Option<&Rc<Btf>>) -> Option<Rc<Btf>> {
        let kernel = kernel?;
        let mut modules = self.modules.borrow_mut();
        let types = modules.entry(module.into()).or_insert_with(|| module::read(module, kernel).ok().map(Rc::new));
        types.clone()
    }

    /// The same as the kernel has them.
    pub fn object(&self, module: &str) -> Result<Object, Error> {
        let mut objects = self.objects.borrow_mut();
        let open = || module::open(module).map(|fd| Object { module: module.into(), fd: Arc::new(fd) });
        objects.entry(module.into()).or_insert_with(open).clone()
    }

    fn symbols(&self) -> &str {
        self.symbols.get_or_init(|| std::fs::read_to_string(SYMBOLS).unwrap_or_default())
    }
}

/// The functions in a table of symbols, each with the module that it is of.
pub fn functions(symbols: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    symbols.lines().filter_map(function)
}

fn function(line: &str) -> Option<(&str, Option<&str>)> {
    let mut words = line.split_ascii_whitespace();
    let (kind, name) = (words.nth(1)?, words.next()?);
    let module = words.next().map(|module| module.trim_matches(['[', ']']));
    let is_padding = PADDING.iter().any(|prefix| name.starts_with(prefix));
    (!is_padding && matches!(kind, "t" | "T" | "w" | "W")).then_some((name, module))
}

/// Functions, as they are spelled, and where they begin; `None` of one whose name several have. Who may not see addresses is
/// told 0.
fn addresses(symbols: &str) -> HashMap<String, Option<u64>> {
    let mut found = HashMap::new();
    for line in symbols.lines() {
        let Some((name, module)) = function(line) else { continue };
        let spelled = module.map_or_else(|| name.to_owned(), |module| format!("{module}:{name}"));
        let address = line.split(' ').next().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let address = address.filter(|address| *address != 0);
        found.entry(spelled).and_modify(|known| *known = None).or_insert(address);
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::super::btf::tests::Writer;
    use super::*;

    const SYMBOLS: &str = "ffffffff81000000 T vfs_read\nffffffff81000010 t __pfx_do_it\nffffffff81000010 t part.isra.0\nffffffff81000020 t part.isra.0\n\
        ffffffff81000010 D data\nffffffffc0000000 t ovl_open\t[overlay]\nffffffffc0000000 t vfs_read\t[odd]\n";

    /// A kernel that describes `vfs_read`, and a module that describes `ovl_open`.
    fn owners() -> (Owners, Rc<Btf>) {
        let mut writer = Writer::new();
        writer.function("vfs_read", &[]);
        let kernel = Rc::new(writer.btf());
        let mut writer = Writer::on(&kernel);
        writer.function("ovl_open", &[]);
        let module = Rc::new(Btf::parse_on(Some(Rc::clone(&kernel)), writer.bytes()).unwrap());
        let modules = [("overlay".to_owned(), Some(module)), ("odd".to_owned(), None)];
        let owners = Owners { symbols: OnceCell::from(SYMBOLS.to_owned()), ..Owners::default() };
        owners.modules.borrow_mut().extend(modules);
        (owners, kernel)
    }

    #[test]
    fn a_function_is_the_kernel_s_or_a_module_s() {
        let (owners, kernel) = owners();
        for (spelled, found, id) in [
            ("vfs_read", "vfs_read", Some(2)),
            ("ovl_open", "overlay:ovl_open", Some(4)),
            ("overlay:ovl_open", "overlay:ovl_open", Some(4)),
            ("odd:vfs_read", "odd:vfs_read", None),
            ("part.isra.0", "part.isra.0", None),
        ] {
            let function = owners.find(spelled, Some(&kernel)).unwrap();
            assert_eq!((function.spelled().as_str(), function.types.map(|types| types.id)), (found, id), "{spelled}");
        }
        for spelled in ["data", "do_it", "__pfx_do_it", "overlay:vfs_read", "nothing:ovl_open", "ovl_opne"] {
            assert!(owners.find(spelled, Some(&kernel)).is_none(), "{spelled}");
        }
        let address = |spelled: &str| owners.address(&owners.find(spelled, Some(&kernel)).unwrap());
        assert_eq!((address("ovl_open"), address("part.isra.0")), (Some(0xffff_ffff_c000_0000), None));
        // Without the kernel's types there are none of a module's, either.
        assert!(owners.find("ovl_open", None).is_some_and(|found| found.types.is_none()));
    }
}
