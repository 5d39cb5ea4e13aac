use super::*;

fn scalar(text: &str, key: &str) -> String {
    let root = parse(text).expect("valid");
    match &root.get(key).expect("key").kind {
        NodeKind::Scalar(s) => s.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_keep_their_text() {
    assert_eq!(scalar("version: 8.10\n", "version"), "8.10");
    assert_eq!(scalar("version: 0x10\n", "version"), "0x10");
    assert_eq!(scalar("version: '8.10' # why\n", "version"), "8.10");
    assert_eq!(scalar("a: \"tab\\tquote\\\"\\u00e9\"\n", "a"), "tab\tquote\"é");
}

#[test]
fn duplicate_keys_are_kept_with_their_places() {
    let text = "a: 1\r\nb: 2\r\na: 3\r\n";
    let root = parse(text).expect("valid");
    let places: Vec<_> = root.entries().iter().map(|e| &text[e.key_span.clone()]).collect();
    assert_eq!(places, ["a", "b", "a"]);
    assert_eq!(root.entries()[2].key_span.start, 12);
}

fn rule(text: &str) -> &'static str {
    parse(text).expect_err("refused")[0].rule
}

#[test]
fn bad_input_is_refused_with_its_rule() {
    assert_eq!(rule(""), "wrong-type");
    assert_eq!(rule("- a\n"), "wrong-type");
    assert_eq!(rule("a: [1\n"), "syntax");
    assert_eq!(rule("a: 1\n---\nb: 2\n"), "syntax");
    assert_eq!(rule("a: &x 1\nb: *x\n"), "alias");
    assert_eq!(rule("a: !tag 1\n"), "tag");
    assert_eq!(rule("a: \u{7}\n"), "syntax");
    assert_eq!(rule(&"a".repeat(MAX_BYTES + 1)), "too-large");
}

#[test]
fn a_syntax_error_is_reported_at_its_line_and_column() {
    let text = "é: \"ü\"\nb: [1, 2\nc: 3\n";
    let found = parse(text).expect_err("refused");
    let place = crate::diagnostic::line_column(text, found[0].start);
    assert_eq!(place, (3, 2), "{found:?}");
}

/// Returns the CPU time of this thread, in seconds.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[test]
fn bombs_are_refused_quickly() {
    let started = cpu();
    assert_eq!(rule(&format!("a: {}", "[".repeat(500_000))), "too-deep");
    assert_eq!(rule(&format!("a: {}", "{b: ".repeat(200_000))), "too-deep");
    assert_eq!(rule(&"- ".repeat(500_000)), "too-deep");
    let nested: String = (0..600).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert!(parse(&nested).is_err());
    let mut bomb = String::from("a0: &a0 x\n");
    for i in 1..30 {
        bomb += &format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}]\n", i - 1);
    }
    assert!(parse(&bomb).is_err());
    assert_eq!(rule(&format!("a: {}", "!a ".repeat(300_000))), "syntax");
    let text: String = (0..60_000).map(|i| format!("k{i}: v\n")).collect();
    assert!(!crate::lint::lint(std::path::Path::new("x"), &text).is_empty());
    assert!(cpu() - started < 60.0, "{} s", cpu() - started);
}

/// Parsing time grows about linearly with the text, whatever it consists of.
#[test]
fn parse_time_grows_linearly_with_the_text() {
    type Kind = (&'static str, fn(usize) -> String);
    let kinds: [Kind; 9] = [
        ("tag", |n| format!("a: {}", "!".repeat(n))),
        ("tag in a list", |n| format!("a: [{}]", "!".repeat(n))),
        ("tag behind a dash", |n| format!("a:\n- {}", "!x".repeat(n / 2))),
        ("short tags", |n| format!("a: [{}]", "!a x, ".repeat(n / 6))),
        ("word", |n| format!("a: {}", "x".repeat(n))),
        ("quoted", |n| format!("a: \"{}\"", "x\\n".repeat(n / 3))),
        ("lines", |n| format!("a: |\n{}", "  x\n".repeat(n / 4))),
        ("keys", |n| (0..n / 9).map(|i| format!("k{i}: v\n")).collect()),
        ("items", |n| format!("a:\n{}", "- x\n".repeat(n / 4))),
    ];
    for (kind, make) in kinds {
        let cpu_time = |n: usize| {
            let text = make(n);
            // The best of several: other programs use this machine's caches, too.
            let time = |_| {
                let started = cpu();
                let _ = parse(&text);
                cpu() - started
            };
            (0..3).map(time).fold(f64::MAX, f64::min)
        };
        let (once, fourfold) = (cpu_time(6_000), cpu_time(24_000));
        // Quadratic time would be sixteenfold; below some milliseconds everything is noise.
        assert!(fourfold < 10.0 * once + 0.05, "{kind}: {once} s, then {fourfold} s");
    }
}

/// libyaml's own limit is on the number of aliases, and not on what they copy.
#[test]
fn aliases_of_a_long_text_are_refused_before_they_fill_the_memory() {
    let bomb = format!("a: &a {}\nb: [{}x]\n", "x".repeat(100_000), "*a, ".repeat(10_000));
    assert_eq!(rule(&bomb), "alias");
    let why = out_of_bounds(&bomb).expect("too much");
    assert!(why.contains("aliases"), "{why}");
    assert_eq!(out_of_bounds("a: &a x\nb: *a\nc: '0 */6 * * *'\n"), None);
    for text in ["a: 'b & c * d'\n", "a: [b, {c: d}, e: {}, \"\\L\\L\\L\\L\"]\n", "{a, b, c, ? , ? }\n", "a:\nb:\n"] {
        assert!(!agree::expands(text), "{text}");
    }
}
