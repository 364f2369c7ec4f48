//! Shell patterns: `*`, `?`, `[abc]`, `[a-z]`, `[!abc]`. Every other character stands for itself.

/// Whether the whole name matches.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where to go on after the last star, if what followed it doesn't fit: that star takes one byte more.
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, from));
            at += 1;
        } else if let Some(length) = one(&pattern[at..], name[from]) {
            at += length;
            from += 1;
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (at, from) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Whether the pattern's beginning stands for this byte, and how long that beginning is.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => match set(pattern, byte) {
            Some((holds, length)) => holds.then_some(length),
            None => (byte == b'[').then_some(1),
        },
        &literal => (literal == byte).then_some(1),
    }
}

/// Whether the byte is in the set that the pattern begins with, and the set's length; none if it has no end.
fn set(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = pattern.get(1) == Some(&b'!');
    let start = if negated { 2 } else { 1 };
    // A bracket that comes first is one of the set.
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|&byte| byte == b']')?;
    let members = &pattern[start..end];
    let (mut at, mut holds) = (0, false);
    while at < members.len() {
        if members.get(at + 1) == Some(&b'-') && at + 2 < members.len() {
            holds |= (members[at]..=members[at + 2]).contains(&byte);
            at += 3;
        } else {
            holds |= members[at] == byte;
            at += 1;
        }
    }
    Some((holds != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "sched:sched_switch", true),
            ("sched:*", "sched:sched_switch", true),
            ("*switch*", "sched:sched_switch", true),
            ("*a*b*c", "xaxbxbxc", true),
            ("*a*b*c", "xaxbxbxcd", false),
            ("sys_enter_?ead", "sys_enter_read", true),
            ("sys_enter_?ead", "sys_enter_ead", false),
            ("sys_e[nx]*", "sys_exit", true),
            ("sys_e[!n]*", "sys_enter", false),
            ("[a-c]", "b", true),
            ("[a-c]", "d", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[x", "[x", true),
            ("", "", true),
            ("", "a", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
