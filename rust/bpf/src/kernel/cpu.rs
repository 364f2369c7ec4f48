//! Which CPUs there are.

use spile_core::error::Error;

/// CPUs that may ever come up: per-CPU maps have a value for each.
pub fn possible() -> Result<Vec<u32>, Error> {
    read("possible")
}

/// CPUs that run now.
pub fn online() -> Result<Vec<u32>, Error> {
    read("online")
}

fn read(which: &str) -> Result<Vec<u32>, Error> {
    let path = format!("/sys/devices/system/cpu/{which}");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::engine(format!("{path}: {error}")))?;
    parse(&text).ok_or_else(|| Error::engine(format!("{path}: {text:?} is no list of CPUs")))
}

/// Reads a list such as `0-3,8`.
fn parse(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if last >= 1 << 16 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(parse("0-1\n"), Some(vec![0, 1]));
        assert_eq!(parse("0,2-4,9"), Some(vec![0, 2, 3, 4, 9]));
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse(""), None);
        assert_eq!(parse("0-99999999"), None);
    }
}
