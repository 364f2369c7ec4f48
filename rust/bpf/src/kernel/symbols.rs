//! Names of a field's values, as a tracepoint's `print fmt` has them. In: its text. Out: tables of `__print_symbolic`.
//!
//! `__print_symbolic(REC->vec, { 0, "HI" }, { 1, "TIMER" })` names the values of one field. Other uses of it (of a part of a
//! field, of a calculation), `__print_flags` (a value is then several names) and tables whose values are words of C's that
//! the kernel didn't replace by numbers name nothing. Nothing in the text makes this panic.

use spile_core::names::ValueNames;

const CALL: &str = "__print_symbolic(REC->";

/// The names of the values of the field called `field`.
pub fn of_field(format: &str, field: &str) -> ValueNames {
    let printed = format.lines().find_map(|line| line.strip_prefix("print fmt:")).unwrap_or("");
    let uses = printed.split(CALL).skip(1).filter_map(|rest| rest.strip_prefix(field));
    let tables = uses.filter_map(|rest| table(rest.trim_start().strip_prefix(',')?));
    ValueNames::new(tables.into_iter().next().unwrap_or_default())
}

/// Entries up to the closing parenthesis; none if any isn't a number and a string.
fn table(mut rest: &str) -> Option<Vec<(i128, String)>> {
    let mut entries = Vec::new();
    loop {
        rest = rest.trim_start().strip_prefix('{')?;
        let (value, more) = rest.split_once(',')?;
        let value = number(value.trim())?;
        let (name, more) = literal(more.trim_start())?;
        entries.push((value, name));
        rest = more.trim_start().strip_prefix('}')?.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return rest.starts_with(')').then_some(entries),
        }
    }
}

/// A number of C's: decimal, hexadecimal or octal, with a suffix, in parentheses, negative.
fn number(text: &str) -> Option<i128> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        return number(inner);
    }
    if let Some(positive) = text.strip_prefix('-') {
        return number(positive).map(|value| -value);
    }
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    let value = u64::from_str_radix(digits, radix).ok()?;
    digits.starts_with(|first: char| first.is_ascii_hexdigit()).then_some(value.into())
}

/// A string literal and what follows it. One that is empty, or has an escape, is no name.
fn literal(text: &str) -> Option<(String, &str)> {
    let (name, rest) = text.strip_prefix('"')?.split_once('"')?;
    (!name.is_empty() && !name.contains('\\')).then(|| (name.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(printed: &str, field: &str) -> Vec<(i128, String)> {
        let found = of_field(&format!("name: x\nprint fmt: \"%s\", {printed}\n"), field);
        found.iter().map(|(value, name)| (value, name.to_owned())).collect()
    }

    #[test]
    fn tables_belong_to_their_field() {
        let printed = "REC->vec, __print_symbolic(REC->vec, { 0, \"HI\" }, { 1, \"TIMER\" }), \
            __print_symbolic(REC->vector, {0x1f,\"X\"},{ -1, \"ALL\" },{ (010u), \"a, b\" })";
        assert_eq!(names(printed, "vec"), [(0, "HI".into()), (1, "TIMER".into())]);
        assert_eq!(names(printed, "vector"), [(31, "X".into()), (-1, "ALL".into()), (8, "a, b".into())]);
        assert_eq!(names(printed, "ve"), []);
    }

    #[test]
    fn what_names_no_value_of_a_field_is_left_out() {
        for printed in [
            "__print_flags(REC->x, \"|\", { 1, \"A\" })",
            "__print_symbolic(REC->x & 3, { 1, \"A\" })",
            "__print_symbolic((REC->x), { 1, \"A\" })",
            "__print_symbolic(REC->x, { MODE_A, \"A\" })",
            "__print_symbolic(REC->x, { 1 << 2, \"A\" })",
            "__print_symbolic(REC->x, { 1, \"A\" }",
            "__print_symbolic(REC->x, { 1, \"A\\\"\" })",
            "__print_symbolic(REC->x)",
            "__print_symbolic(REC->x,",
            "__print_symbolic(REC->x, { , \"A\" })",
            "__print_symbolic(REC->x, { 0x, \"A\" })",
            "__print_symbolic(REC->x, { 99999999999999999999, \"A\" })",
            "é__print_symbolic(REC->xé",
        ] {
            assert_eq!(names(printed, "x"), [], "{printed}");
        }
        assert!(of_field("", "x").is_empty());
    }
}
