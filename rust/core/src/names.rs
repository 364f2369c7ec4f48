//! Names of numbers: an enumeration's values, errors.
//!
//! In: a table from whoever knows it (types, a tracepoint's `format`, the list of errors here). Out: the name of a value
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
        let numbered =
            |names: &'static str, first| (first..).zip(names.split_whitespace()).filter(|pair| pair.1 != "-");
        let table = || {
            let all = numbered(ERRORS, 1).chain(numbered(INNER_ERRORS, FIRST_INNER));
            Self::new(all.map(|(value, name)| (value, name.to_owned())))
        };
        TABLE.get_or_init(table).clone()
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
