//! The picture holds what was counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use spile_core::report::flamegraph;

#[test]
fn frames_counts_title_and_unit() {
    let svg = flamegraph([("main;read", 3), ("main;write", 1)], "Where it waits", "waits").unwrap();
    for expected in
        ["<svg", "Where it waits", "main (4 waits, 100.00%)", "read (3 waits, 75.00%)", "write (1 waits, 25.00%)"]
    {
        assert!(svg.contains(expected), "no {expected}");
    }
    assert_eq!(svg, flamegraph([("main;write", 1), ("main;read", 3)], "Where it waits", "waits").unwrap());
}

#[test]
fn names_are_escaped() {
    let svg = flamegraph([("f<a & b>;g\n\u{1}\"q\"", 2)], "<script>", "a&b").unwrap();
    assert!(svg.contains("f&lt;a &amp; b&gt; (2 a&amp;b, 100.00%)"), "{svg}");
    assert!(!svg.contains("f<a") && !svg.contains("<script>\n") && !svg.contains('\u{1}'));
    assert!(svg.contains("&lt;script&gt;"));
}

#[test]
fn nothing_to_draw_is_said() {
    assert!(flamegraph([], "t", "n").unwrap_err().to_string().contains("nothing to draw"));
    assert!(flamegraph([("a", 0)], "t", "n").is_err());
}

#[test]
fn a_name_that_looks_like_a_count_stays_a_name() {
    let svg = flamegraph([("a;b 7", 2), ("a;c 1.5 ", 1)], "t", "events").unwrap();
    assert!(svg.contains("b\u{a0}7 (2 events, 66.67%)") && svg.contains("c\u{a0}1.5 (1 events, 33.33%)"), "{svg}");
}
