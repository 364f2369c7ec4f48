//! Names of numbers: an enumeration's values, errors, system calls.
//!
//! In: a table from whoever knows it (types, a tracepoint's `format`, the lists of errors and system calls here). Out: the name of a value
//! and the value of a name. A column carries its table once; events carry numbers.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// Errors that user space sees, in the order of their numbers from 1 (include/uapi/asm-generic/errno.h); `-` is none.
const ERRORS: &str = "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY
    EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM
    ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH
    ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE
    ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN
    ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT
    EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
    ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN
    EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE
    ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON";
/// Errors of the kernel's own, from 512 (include/linux/errno.h).
const INNER_ERRORS: &str = "ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK EPROBE_DEFER
    EOPENSTALE ENOPARAM - EBADHANDLE ENOTSYNC EBADCOOKIE ENOTSUPP ETOOSMALL ESERVERFAULT EBADTYPE EJUKEBOX EIOCBQUEUED
    ERECALLCONFLICT ENOGRACE";
/// The number of the first of them.
const FIRST_INNER: i128 = 512;

/// System calls of x86-64, in the order of their numbers from 0 (arch/x86/entry/syscalls/syscall_64.tbl).
const SYSCALLS: &str = "read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
    ioctl pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl
    dup dup2 pause nanosleep getitimer alarm setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg
    recvmsg shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt clone fork vfork execve exit
    wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync truncate
    ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link unlink symlink readlink chmod fchmod chown
    fchown lchown umask gettimeofday getrlimit getrusage sysinfo times ptrace getuid syslog getgid setuid setgid geteuid
    getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid setresgid getresgid
    getpgid setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend
    sigaltstack utime mknod uselib personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam
    sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval mlock munlock mlockall munlockall vhangup modify_ldt pivot_root _sysctl prctl arch_prctl
    adjtimex setrlimit chroot sync acct settimeofday mount umount2 swapon swapoff reboot sethostname setdomainname iopl
    ioperm create_module init_module delete_module get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg
    afs_syscall tuxcall security gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr
    llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex sched_setaffinity sched_getaffinity
    set_thread_area io_setup io_destroy io_getevents io_submit io_cancel get_thread_area lookup_dcookie epoll_create
    epoll_ctl_old epoll_wait_old remap_file_pages getdents64 set_tid_address restart_syscall semtimedop fadvise64
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime clock_getres
    clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes vserver mbind set_mempolicy get_mempolicy mq_open
    mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load waitid add_key request_key keyctl
    ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat
    futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare
    set_robust_list get_robust_list splice tee sync_file_range vmsplice move_pages utimensat epoll_pwait signalfd
    timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2
    inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init fanotify_mark prlimit64
    name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg setns getcpu process_vm_readv process_vm_writev
    kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create kexec_file_load bpf execveat
    userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx
    io_pgetevents rseq uretprobe";
/// Those that all architectures have given one number to.
const COMMON_SYSCALLS: &str =
    "pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount
    fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr
    quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease
    futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue
    statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat
    removexattrat open_tree_attr file_getattr file_setattr";
/// The number of the first of them.
const FIRST_COMMON: i128 = 424;

/// How alike (1 is equal) a name must be to be proposed.
const LEAST_LIKE: f64 = 0.75;
/// So many are proposed.
const MOST_NEAR: usize = 3;

/// Which value has which name. Copies share one table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(i64, String)>", into = "Vec<(i64, String)>")]
pub struct ValueNames {
    /// In the order of their declaration; where two share a value, the first is its name.
    values: Arc<[(i128, String)]>,
}

impl ValueNames {
    /// A table, in the order of its declaration.
    pub fn new(values: impl IntoIterator<Item = (i128, String)>) -> Self {
        Self { values: values.into_iter().collect() }
    }

    /// The names of errors, as positive numbers.
    pub fn of_errors() -> Self {
        static TABLE: OnceLock<ValueNames> = OnceLock::new();
        TABLE.get_or_init(|| Self::numbered([(1, ERRORS), (FIRST_INNER, INNER_ERRORS)])).clone()
    }

    /// The names of system calls; none for a machine whose numbers aren't known here.
    pub fn of_syscalls() -> Self {
        static TABLE: OnceLock<ValueNames> = OnceLock::new();
        if !cfg!(target_arch = "x86_64") {
            return Self::default();
        }
        TABLE.get_or_init(|| Self::numbered([(0, SYSCALLS), (FIRST_COMMON, COMMON_SYSCALLS)])).clone()
    }

    /// Lists of names, each numbered from its first on.
    fn numbered(lists: [(i128, &'static str); 2]) -> Self {
        let numbers = |(first, names): (i128, &'static str)| (first..).zip(names.split_whitespace());
        let named = lists.into_iter().flat_map(numbers).filter(|(_, name)| *name != "-");
        Self::new(named.map(|(value, name)| (value, name.to_owned())))
    }

    /// Whether no value has a name.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether both are copies of one table.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.values, &other.values)
    }

    /// Values and their names.
    pub fn iter(&self) -> impl Iterator<Item = (i128, &str)> {
        self.values.iter().map(|(value, name)| (*value, name.as_str()))
    }

    /// The value of a name.
    pub fn value(&self, name: &str) -> Option<i128> {
        self.iter().find(|(_, known)| *known == name).map(|(value, _)| value)
    }

    /// The name of a value.
    pub fn name(&self, value: i128) -> Option<&str> {
        self.iter().find(|(known, _)| *known == value).map(|(_, name)| name)
    }

    /// The names most like one that isn't there, best first.
    pub fn nearest(&self, name: &str) -> Vec<&str> {
        let likeness = |known: &str| strsim::normalized_damerau_levenshtein(name, known);
        let mut near: Vec<(f64, &str)> = self.iter().map(|(_, known)| (likeness(known), known)).collect();
        near.retain(|(score, _)| *score >= LEAST_LIKE);
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.into_iter().take(MOST_NEAR).map(|(_, known)| known).collect()
    }

    /// The table as a column of that width reads the values: -1 in one of 4 unsigned bytes is 4,294,967,295.
    #[must_use]
    pub fn fitted(&self, size: u8, signed: bool) -> Self {
        let bits = 8 * u32::from(size.clamp(1, 8));
        let fit = |value: i128| {
            let low = value & ((1 << bits) - 1);
            if signed && low >> (bits - 1) == 1 { low - (1 << bits) } else { low }
        };
        if self.iter().all(|(value, _)| fit(value) == value) {
            return self.clone();
        }
        Self::new(self.iter().map(|(value, name)| (fit(value), name.to_owned())))
    }
}

impl From<Vec<(i64, String)>> for ValueNames {
    fn from(values: Vec<(i64, String)>) -> Self {
        Self::new(values.into_iter().map(|(value, name)| (value.into(), name)))
    }
}

impl From<ValueNames> for Vec<(i64, String)> {
    /// A value beyond 63 bits is written as the negative number of the same bits.
    fn from(names: ValueNames) -> Self {
        names
            .fitted(8, true)
            .iter()
            .filter_map(|(value, name)| Some((i64::try_from(value).ok()?, name.into())))
            .collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn table(values: &[(i128, &str)]) -> ValueNames {
        ValueNames::new(values.iter().map(|(value, name)| (*value, (*name).to_owned())))
    }

    #[test]
    fn names_and_values_lead_to_each_other() {
        let names = table(&[(1, "ONE"), (2, "TWO"), (2, "ALSO_TWO"), (-1, "NONE")]);
        assert_eq!((names.value("ALSO_TWO"), names.value("THREE")), (Some(2), None));
        assert_eq!((names.name(2), names.name(-1), names.name(3)), (Some("TWO"), Some("NONE"), None));
        assert!(names.clone().is_copy_of(&names) && !table(&[]).is_copy_of(&names));
        assert!(ValueNames::of_errors().fitted(4, true).is_copy_of(&ValueNames::of_errors()));
        assert!(ValueNames::default().is_empty() && !names.is_empty());
    }

    /// As asm/unistd_64.h has them.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn system_calls_have_their_numbers() {
        let names = ValueNames::of_syscalls();
        let some = [(0, "read"), (59, "execve"), (110, "getppid"), (202, "futex"), (257, "openat"), (334, "rseq")];
        let later = [(424, "pidfd_send_signal"), (435, "clone3"), (441, "epoll_pwait2"), (462, "mseal")];
        for (number, name) in some.into_iter().chain(later) {
            assert_eq!((names.name(number), names.value(name)), (Some(name), Some(number)));
        }
        assert_eq!((names.name(336), names.name(423), names.name(-1)), (None, None, None));
    }

    #[test]
    fn values_are_those_that_a_column_can_hold() {
        let names = table(&[(-1, "ALL"), (7, "SEVEN")]);
        assert_eq!(names.fitted(4, false).value("ALL"), Some(u32::MAX.into()));
        assert_eq!(names.fitted(8, false).value("ALL"), Some(u64::MAX.into()));
        assert_eq!(names.fitted(1, true).value("ALL"), Some(-1));
        assert_eq!(table(&[(0xffff_ffff, "ALL")]).fitted(4, true).value("ALL"), Some(-1));
        assert_eq!(names.fitted(2, true), names);
    }

    #[test]
    fn a_table_goes_through_json() {
        let names = table(&[(2, "ENOENT"), (-5, "X")]);
        let text = serde_json::to_string(&names).unwrap();
        assert_eq!(text, r#"[[2,"ENOENT"],[-5,"X"]]"#);
        assert_eq!(serde_json::from_str::<ValueNames>(&text).unwrap(), names);
    }

    #[test]
    fn errors_have_the_numbers_that_the_system_gives_them() {
        let errors = ValueNames::of_errors();
        // The C library's own words, by way of the standard library.
        for (name, words) in [
            ("EPERM", "Operation not permitted"),
            ("ELOOP", "Too many levels of symbolic links"),
            ("ENOMSG", "No message of desired type"),
            ("EBADSLT", "Invalid slot"),
            ("EBFONT", "Bad font file format"),
            ("EILSEQ", "Invalid or incomplete multibyte or wide character"),
            ("ETIMEDOUT", "Connection timed out"),
            ("EHWPOISON", "Memory page has hardware error"),
        ] {
            let number = i32::try_from(errors.value(name).unwrap()).unwrap();
            let said = std::io::Error::from_raw_os_error(number).to_string();
            assert!(said.starts_with(words), "{name} is {said}");
        }
        assert_eq!((errors.value("ERESTARTSYS"), errors.value("ENOTSUPP")), (Some(512), Some(524)));
        assert_eq!((errors.name(0), errors.value("-")), (None, None));
    }
}
