//! A kernel of a test's own: [`with`] lets a closure answer the calls of this thread.

use std::cell::RefCell;
use std::io;

use super::Syscall;

type Kernel = Box<dyn FnMut(Syscall<'_>) -> io::Result<i64>>;

thread_local! {
    static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
}

/// Runs `test` while `kernel` answers every system call that this thread makes by way of the funnel.
pub fn with<R>(kernel: impl FnMut(Syscall<'_>) -> io::Result<i64> + 'static, test: impl FnOnce() -> R) -> R {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            KERNEL.with_borrow_mut(|slot| *slot = None);
        }
    }
    KERNEL.with_borrow_mut(|slot| *slot = Some(Box::new(kernel)));
    let _restore = Restore;
    test()
}

/// An errno, as the kernel would answer it.
pub fn errno(errno: i32) -> io::Result<i64> {
    Err(io::Error::from_raw_os_error(errno))
}

pub(super) fn answer(syscall: Syscall<'_>) -> Result<io::Result<i64>, Syscall<'_>> {
    KERNEL.with_borrow_mut(|slot| match slot {
        Some(kernel) => Ok(kernel(syscall)),
        None => Err(syscall),
    })
}
