//! A tracepoint's record, as its `format` file describes it. In: the file's text. Out: typed fields and their places.
//!
//! Lines that aren't understood are left out; nothing in the text makes this panic. The record's first 8 bytes, the
//! common fields, are not for programs: the kernel puts a pointer of its own there before it runs one
//! (`perf_trace_run_bpf_submit`), and its verifier refuses to read it (`tp_prog_is_valid_access`).

use crate::compile::Access;

/// Bytes at the record's start that a program can't read.
const HIDDEN: u32 = 8;
/// A record is never this long, so an offset that is tells of damage.
const LONGEST: u32 = 1 << 16;

/// A field of a tracepoint's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatField {
    /// Its name.
    pub name: String,
    /// Its type as the file spells it, without the name.
    pub ty: String,
    /// Where it is and what it is; what can't be captured has the reason.
    pub access: Result<Access, &'static str>,
}

impl FormatField {
    /// The name of the structure that it points to, as in `struct sock *`.
    pub fn pointee(&self) -> Option<&str> {
        let name = self.ty.trim_start_matches("const ").strip_prefix("struct ")?.strip_suffix('*')?.trim_end();
        (!name.contains([' ', '*'])).then_some(name)
    }

    /// The name of the enumeration that its values are of, as in `enum hrtimer_mode`.
    pub fn enumeration(&self) -> Option<&str> {
        let name = self.ty.trim_start_matches("const ").strip_prefix("enum ")?;
        (!name.contains([' ', '*', '['])).then_some(name)
    }
}

/// The fields, the common ones not among them.
pub fn parse(text: &str) -> Vec<FormatField> {
    let is_syscall = text.lines().any(|line| line.trim_start().starts_with("field:int __syscall_nr;"))
        && text.lines().any(|line| line.starts_with("name: sys_enter_"));
    text.lines().filter_map(|line| field(line, is_syscall)).filter(|field| !field.name.starts_with("common_")).collect()
}

fn field(line: &str, is_syscall: bool) -> Option<FormatField> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?.trim();
    let (mut offset, mut size, mut signed) = (None, None, false);
    for part in parts {
        match part.split_once(':') {
            Some(("offset", value)) => offset = value.parse::<u32>().ok(),
            Some(("size", value)) => size = value.parse::<u32>().ok(),
            Some(("signed", value)) => signed = value == "1",
            _ => {}
        }
    }
    let (offset, size) = (offset.filter(|&at| at < LONGEST)?, size.filter(|&size| size < LONGEST)?);
    let (ty, name, count) = split(declaration)?;
    let access = access(&ty, count, offset, size, signed, is_syscall);
    let ty =
        count.map_or(ty.clone(), |count| if count.is_empty() { format!("{ty}[]") } else { format!("{ty}[{count}]") });
    Some(FormatField { name, ty, access })
}

/// Splits `char comm[16]` into type, name and count.
fn split(declaration: &str) -> Option<(String, String, Option<&str>)> {
    let (rest, count) = match declaration.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        // `__data_loc char[] name` has its brackets before the name.
        Some((rest, count)) => (rest.trim_end(), Some(count.trim())),
        None => (declaration, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = rest.rfind(|c| !is_name(c)).map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
    let (ty, name) = (rest[..start].trim_end(), &rest[start..]);
    (!ty.is_empty() && !name.is_empty()).then(|| (ty.to_owned(), name.to_owned(), count))
}

fn access(
    ty: &str,
    count: Option<&str>,
    offset: u32,
    size: u32,
    signed: bool,
    is_syscall: bool,
) -> Result<Access, &'static str> {
    if offset < HIDDEN {
        return Err("is among the first 8 bytes of the record, which the kernel hides from programs");
    }
    if let Some(ty) = ty.strip_prefix("__data_loc ") {
        let is_string = ty.trim_end_matches("[]").trim_end() == "char";
        return Ok(if is_string { Access::CtxDynString { offset } } else { Access::CtxDynBytes { offset } });
    }
    if ty.starts_with("__rel_loc ") {
        return Err("is a __rel_loc array, which can't be captured yet");
    }
    if let Some(count) = count {
        return array(ty, count, offset, size, signed);
    }
    let (size, signed) = if is_syscall && size == 8 { parameter(ty) } else { (size, signed) };
    match u8::try_from(size) {
        Ok(size @ (1 | 2 | 4 | 8)) => Ok(Access::Ctx { offset, size, signed }),
        _ => Err("is a structure by value, which can't be captured"),
    }
}

fn array(ty: &str, count: &str, offset: u32, size: u32, signed: bool) -> Result<Access, &'static str> {
    if size == 0 {
        return Err("has no length of its own, so it can't be captured");
    }
    if ty == "char" {
        return Ok(Access::CtxString { offset, size });
    }
    // The count may be a name of the kernel's source, so the element's size comes from its type where need be.
    let elem_size = match count.parse::<u32>() {
        Ok(count) if count > 0 && size.is_multiple_of(count) => size / count,
        _ => width(ty).ok_or("has elements of an unknown size")?,
    };
    match u8::try_from(elem_size) {
        Ok(elem_size @ (1 | 2 | 4 | 8)) if size.is_multiple_of(elem_size.into()) => {
            Ok(Access::CtxArray { offset, elem_size, signed, count: size / u32::from(elem_size) })
        }
        _ => Err("is an array of structures, which can't be captured"),
    }
}

/// A system call's parameters are recorded as unsigned words of 8 bytes whatever their types, so the type says more:
/// openat's `int dfd` of -100 is then no 4,294,967,196. The low bytes come first.
fn parameter(ty: &str) -> (u32, bool) {
    const { assert!(cfg!(target_endian = "little"), "a narrow parameter is at the end of its word") }
    match ty.trim_start_matches("const ") {
        "int" | "pid_t" | "key_t" | "clockid_t" | "timer_t" | "key_serial_t" | "mqd_t" | "__s32" => (4, true),
        "unsigned" | "unsigned int" | "u32" | "__u32" | "uid_t" | "gid_t" | "qid_t" | "rwf_t" => (4, false),
        "umode_t" => (2, false),
        "long" | "off_t" | "loff_t" | "ssize_t" => (8, true),
        _ => (8, false),
    }
}

fn width(ty: &str) -> Option<u32> {
    Some(match ty {
        "u8" | "__u8" | "s8" | "__s8" | "unsigned char" | "signed char" | "bool" => 1,
        "u16" | "__u16" | "s16" | "__s16" | "short" | "unsigned short" | "__be16" => 2,
        "u32" | "__u32" | "s32" | "__s32" | "int" | "unsigned int" | "unsigned" | "__be32" => 4,
        "u64" | "__u64" | "s64" | "__s64" | "long" | "unsigned long" | "size_t" => 8,
        _ if ty.ends_with('*') => 8,
        _ => return None,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sched_switch\nID: 372\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
        \tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;\n\
        \tfield:__data_loc char[] filename;\toffset:28;\tsize:4;\tsigned:0;\n\
        \tfield:__data_loc u8[] raw;\toffset:32;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned long args[6];\toffset:40;\tsize:48;\tsigned:0;\n\
        \tfield:const struct sock * sk;\toffset:88;\tsize:8;\tsigned:0;\n\
        \tfield:u8 mac[ETH_ALEN];\toffset:96;\tsize:6;\tsigned:0;\n\
        \tfield:struct pair both;\toffset:104;\tsize:16;\tsigned:0;\n\
        \tfield:char buf[];\toffset:120;\tsize:0;\tsigned:0;\n\
        \nprint fmt: \"field:int x;offset:1;\", REC->prev_comm\n";

    fn of(name: &str) -> FormatField {
        parse(FORMAT).into_iter().find(|field| field.name == name).unwrap()
    }

    #[test]
    fn fields_have_their_places() {
        assert_eq!(of("prev_comm").access, Ok(Access::CtxString { offset: 8, size: 16 }));
        assert_eq!(of("prev_pid").access, Ok(Access::Ctx { offset: 24, size: 4, signed: true }));
        assert_eq!(of("filename").access, Ok(Access::CtxDynString { offset: 28 }));
        assert_eq!(of("raw").access, Ok(Access::CtxDynBytes { offset: 32 }));
        let args = Access::CtxArray { offset: 40, elem_size: 8, signed: false, count: 6 };
        assert_eq!((of("args").access, of("args").ty.as_str()), (Ok(args), "unsigned long[6]"));
        let mac = Access::CtxArray { offset: 96, elem_size: 1, signed: false, count: 6 };
        assert_eq!(of("mac").access, Ok(mac));
        assert!(of("both").access.is_err() && of("buf").access.is_err());
        assert_eq!((of("sk").pointee(), of("prev_pid").pointee()), (Some("sock"), None));
        assert_eq!(parse(FORMAT).len(), 9);
    }

    #[test]
    fn a_system_call_s_parameters_have_their_own_types() {
        let fields = parse(
            "name: sys_enter_openat\n\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
             \tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;\n\
             \tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;\n",
        );
        let access: Vec<_> = fields.into_iter().skip(1).map(|field| field.access.unwrap()).collect();
        assert_eq!(
            access,
            [
                Access::Ctx { offset: 16, size: 4, signed: true },
                Access::Ctx { offset: 24, size: 8, signed: false },
                Access::Ctx { offset: 40, size: 2, signed: false },
            ]
        );
    }

    #[test]
    fn garbage_gives_no_fields_and_no_panic() {
        for text in [
            "",
            "field:",
            "\tfield:;offset:0;size:4",
            "\tfield:int x;offset:-1;size:4;signed:1;",
            "\tfield:int x;offset:8;size:99999999999;",
            "\tfield:]a[;offset:8;size:4;",
            "\tfield:é[]é;offset:8;size:4;",
            "\tfield:int 数;offset:8;size:4;",
            "\tfield:x;offset:8;size:4;",
        ] {
            assert_eq!(parse(text), [], "{text:?}");
        }
    }
}
