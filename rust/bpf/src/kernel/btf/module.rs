//! The types of modules. In: a module's name, and the kernel's own types. Out: the module's, which follow on those, and the
//! descriptor by which a program for one of its functions names them.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use spile_core::error::Error;

use super::Btf;
use crate::kernel::sys::bpf;

/// Where the types of the kernel and of its modules are.
const FOLDER: &str = "/sys/kernel/btf";

/// Reads a loaded module's.
pub fn read(module: &str, kernel: &Rc<Btf>) -> Result<Btf, Error> {
    let path = Path::new(FOLDER).join(module);
    let bytes = std::fs::read(&path).map_err(|error| Error::Unsupported {
        message: format!("{}: {error}; the module {module} has no types", path.display()),
    })?;
    Btf::parse_on(Some(Rc::clone(kernel)), bytes)
}

/// A loaded module's, as the kernel keeps them.
pub fn open(module: &str) -> Result<OwnedFd, Error> {
    let what = |error: std::io::Error| Error::engine(format!("asking the kernel for the types of {module}: {error}"));
    let mut last = 0;
    while let Some(id) = bpf::next_types(last).map_err(what)? {
        last = id;
        // One that has gone since then is another's.
        let Ok(types) = bpf::open_types(id) else { continue };
        if bpf::name_of_types(types.as_fd()).map_err(what)?.as_deref() == Some(module) {
            return Ok(types);
        }
    }
    Err(Error::Unsupported { message: format!("the kernel has no types of the module {module}") })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::tests::Writer;
    use super::super::{Btf, Kind};
    use super::*;

    /// A kernel with `int`, `struct file { int mode }` and a pointer to it; a module whose `struct own` has both, and a
    /// function that takes them.
    fn types() -> (Rc<Btf>, Btf) {
        let mut writer = Writer::new();
        let int = writer.int("int", 4, true);
        let file = writer.structure("file", 8, &[("mode", int, 32, 0)]);
        let pointer = writer.pointer(file);
        let kernel = Rc::new(writer.btf());
        let mut writer = Writer::on(&kernel);
        let own = writer.structure("own", 16, &[("file", pointer, 0, 0), ("count", int, 64, 0)]);
        let to_own = writer.pointer(own);
        writer.returning("ovl_read", &[("own", to_own), ("file", pointer)], int);
        let module = Btf::parse_on(Some(Rc::clone(&kernel)), writer.bytes()).unwrap();
        (kernel, module)
    }

    #[test]
    fn a_module_s_types_follow_on_the_kernel_s() {
        let (kernel, module) = types();
        assert_eq!((kernel.len(), module.len(), module.all().count()), (3, 7, 4));
        let function = module.find(|kind| kind == Kind::Function, "ovl_read").unwrap();
        assert_eq!(function.id(), 7);
        let parameters: Vec<_> = function.parameters().map(|parameter| (parameter.name, parameter.ty)).collect();
        assert_eq!(parameters, [(&b"own"[..], 5), (b"file", 3)]);
        let file = module.get(3).unwrap().target().unwrap();
        assert_eq!((file.name(), file.members().next().unwrap().name), (&b"file"[..], &b"mode"[..]));
        assert!(file.has_name("file") && module.get(4).unwrap().has_name("own") && !file.has_name("own"));
        // What each has of its own is found there and not in the other.
        assert!(kernel.structure("own").is_none() && module.structure("file").is_none());
        assert!(module.get(8).is_err() && kernel.get(4).is_err());
    }

    #[test]
    fn no_damage_to_a_module_s_types_makes_them_panic() {
        let (kernel, module) = types();
        let good = module.bytes.clone();
        for at in 0..good.len() {
            for bit in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                let Ok(btf) = Btf::parse_on(Some(Rc::clone(&kernel)), bad) else { continue };
                for ty in btf.all() {
                    let _ = (ty.name(), ty.spelling(), ty.size(), ty.members().count(), ty.parameters().count());
                }
                let _ = btf.find(|kind| kind == Kind::Function, "ovl_read");
            }
        }
    }
}
