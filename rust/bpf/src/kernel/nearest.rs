//! Names like the one that isn't there.

/// At most this many are proposed.
const MOST: usize = 5;
/// How alike (1 is equal) two names must be.
const LEAST: f64 = 0.75;

/// The candidates most like `name`, best first.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(score, _)| *score >= LEAST)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(MOST).map(|(_, candidate)| candidate).collect()
}

/// A sentence that proposes them, with a leading "; ", or nothing.
pub fn proposal(name: &str, candidates: &[&str]) -> String {
    let near = nearest(name, candidates.iter().copied());
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}

fn likeness(name: &str, candidate: &str) -> f64 {
    let edits = strsim::normalized_damerau_levenshtein(name, candidate);
    // A part of the real name is a good guess too.
    let is_part = name.len() >= 4 && candidate.contains(name);
    // One slip in a short name weighs much, but is still a slip.
    let is_slip = name.len() >= 3 && strsim::damerau_levenshtein(name, candidate) == 1;
    if is_part || is_slip { edits.max(0.8) } else { edits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_and_parts_are_near_and_strangers_are_not() {
        let names = ["sched_switch", "sched_wakeup", "sys_enter", "kfree_skb"];
        assert_eq!(nearest("sched_swich", names), ["sched_switch"]);
        assert_eq!(nearest("switch", names), ["sched_switch"]);
        assert_eq!(nearest("zzz", names), [""; 0]);
        assert_eq!(proposal("zzz", &names), "");
        assert_eq!(proposal("kfree_sbk", &names), "; did you mean kfree_skb?");
    }
}
