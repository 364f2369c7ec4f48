//! Flame graphs. In: folded stacks (`outermost;…;innermost`) and their counts. Out: one SVG, drawn by inferno.

use inferno::flamegraph::{self as svg, Options};

use crate::error::Error;

/// Draws folded stacks.
///
/// Frames are separated by `;`. `count_name` says what is counted, as in `12 events`. The same stacks give the same
/// picture, colours included.
pub fn flamegraph<'a>(
    folded: impl IntoIterator<Item = (&'a str, u64)>,
    title: &str,
    count_name: &str,
) -> Result<String, Error> {
    let lines: Vec<String> = folded
        .into_iter()
        .filter(|(stack, count)| *count > 0 && !stack.is_empty())
        .map(|(stack, count)| format!("{} {count}", one_line(stack)))
        .collect();
    if lines.is_empty() {
        return Err(Error::engine("there is nothing to draw: no stack has been counted"));
    }
    let mut options = Options::default();
    options.title = title.into();
    options.count_name = count_name.into();
    options.hash = true;
    let mut drawn = Vec::new();
    svg::from_lines(&mut options, lines.iter().map(String::as_str), &mut drawn)
        .map_err(|error| Error::engine(format!("the flame graph can't be drawn: {error}")))?;
    String::from_utf8(drawn).map_err(|error| Error::engine(format!("the flame graph is no text: {error}")))
}

/// A stack is a line: what would end it, or can't stand in XML, becomes a space. A number after the last space would be
/// taken for an earlier count, so that space becomes one that doesn't break.
fn one_line(stack: &str) -> String {
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    let line: String = stack.chars().map(|c| if is_odd(c) { ' ' } else { c }).collect();
    match line.trim_end().rsplit_once(' ') {
        Some((names, last)) if last.chars().all(|c| c.is_ascii_digit() || c == '.') => format!("{names}\u{a0}{last}"),
        _ => line,
    }
}
