//! Room for descriptors. In: how many a session is about to take. Out: a limit (`RLIMIT_NOFILE`) that allows them.
//!
//! Each program and each link is one, so a session on every tracepoint takes thousands, where a shell's soft limit is
//! 1,024. The limit is raised only as far as it has to be, and never lowered again: other sessions may need it.
//! select(2) can't name descriptors from 1,024 on, so [`out_of_the_way`] leaves those below to the program.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use spile_core::error::Error;

use super::sys::{self, Syscall};

/// What a process may need besides.
const SPARE: u64 = 256;
/// From here on descriptors are moved up.
const CROWDED: i64 = 512;
/// `FD_SETSIZE`.
const SELECTABLE: i32 = 1024;

/// Sees to it that so many more can be opened.
pub fn make_room(wanted: usize) -> Result<(), Error> {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let needed = open + wanted as u64 + SPARE;
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let known = sys::call(Syscall::DescriptorLimit { new: None, old: Some(&mut now) });
    if known.is_err() || now.rlim_cur >= needed {
        return Ok(());
    }
    let new = libc::rlimit { rlim_cur: needed, rlim_max: now.rlim_max.max(needed) };
    sys::call(Syscall::DescriptorLimit { new: Some(&new), old: None }).map(drop).map_err(|error| {
        Error::engine(format!(
            "a session of so many probes takes {wanted} descriptors, and this process may have {} in all, {open} of which \
             are open ({error}); raise the hard limit (`ulimit -Hn`) to {needed}, or trace fewer",
            now.rlim_max
        ))
    })
}

/// Moves a new descriptor behind those that select(2) can name, once they get scarce. Where there is no room, it stays.
pub(super) fn out_of_the_way(fd: OwnedFd, number: i64) -> OwnedFd {
    if !(CROWDED..SELECTABLE.into()).contains(&number) {
        return fd;
    }
    sys::new_fd(Syscall::Duplicate { fd: fd.as_fd(), least: SELECTABLE }).unwrap_or(fd)
}

/// What to say when none is left.
pub fn used_up(error: &io::Error) -> Option<&'static str> {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
        .then_some("no descriptor is left; raise `ulimit -n`")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::cell::RefCell;
    use std::fs::File;
    use std::os::fd::{AsRawFd as _, IntoRawFd as _};
    use std::rc::Rc;

    use super::super::sys::fake;
    use super::*;

    /// A kernel with these limits; what is set is noted.
    fn under(soft: u64, hard: u64, may_raise: bool) -> (Result<(), Error>, Vec<(u64, u64)>) {
        let set = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&set);
        let kernel = move |syscall: Syscall<'_>| {
            let Syscall::DescriptorLimit { new, old } = syscall else { panic!("only the limit is asked for") };
            if let Some(old) = old {
                *old = libc::rlimit { rlim_cur: soft, rlim_max: hard };
            }
            if let Some(new) = new {
                if new.rlim_max > hard && !may_raise {
                    return fake::errno(libc::EPERM);
                }
                seen.borrow_mut().push((new.rlim_cur, new.rlim_max));
            }
            Ok(0)
        };
        let result = fake::with(kernel, || make_room(3000));
        (result, set.take())
    }

    #[test]
    fn the_limit_is_raised_where_it_has_to_be() {
        assert_eq!(under(20_000, 20_000, false), (Ok(()), vec![]), "there is room");
        let (result, set) = under(1024, 20_000, false);
        assert!(result.is_ok() && set.len() == 1);
        let (soft, hard) = set[0];
        assert!((3000 + SPARE..5000).contains(&soft) && hard == 20_000, "{set:?}");
        let (result, set) = under(1024, 2048, true);
        assert!(result.is_ok() && set[0].0 == set[0].1 && set[0].0 > 3000, "root raises the hard one, too: {set:?}");
    }

    #[test]
    fn a_hard_limit_that_is_too_low_is_named() {
        let error = under(1024, 2048, false).0.unwrap_err().to_string();
        assert!(error.contains("3000 descriptors") && error.contains("2048 in all"), "{error}");
    }

    #[test]
    fn descriptors_that_select_can_name_are_left_to_the_program() {
        let kernel = |syscall: Syscall<'_>| match syscall {
            Syscall::Duplicate { least, .. } => {
                assert_eq!(least, 1024);
                Ok(File::open("/dev/null")?.into_raw_fd().into())
            }
            _ => panic!("only a duplicate is made"),
        };
        fake::with(kernel, || {
            for (number, moves) in [(3, false), (511, false), (512, true), (1023, true), (1024, false)] {
                let fd = OwnedFd::from(File::open("/dev/null").unwrap());
                let before = fd.as_raw_fd();
                assert_eq!(out_of_the_way(fd, number).as_raw_fd() != before, moves, "{number}");
            }
        });
    }
}
