//! Words of messages for people: numbers with their nouns, lists, durations and sizes.

use std::fmt::Display;

/// Formats a number with its noun, whose plural ends in `s`: `1 test`, `3 tests`.
pub fn count<N: Display + From<u8> + PartialEq>(number: N, noun: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// Returns the form of a word for this number of things: `one` for 1, `many` for all others.
pub fn form<'w>(number: usize, one: &'w str, many: &'w str) -> &'w str {
    if number == 1 { one } else { many }
}

/// Lists what holds together: `a and b and c`.
pub fn list_and(all: impl IntoIterator<Item = impl Display>) -> String {
    joined(all, " and ")
}

/// Lists alternatives: `a or b or c`.
pub fn list_or(all: impl IntoIterator<Item = impl Display>) -> String {
    joined(all, " or ")
}

fn joined(all: impl IntoIterator<Item = impl Display>, between: &str) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(between)
}

/// Formats a duration in milliseconds: `4.2 s`, `1 min 05 s`, `2 h 03 min`.
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Formats an age in seconds, in the largest unit of which there are at least two: `12 minutes`, `5 hours`, `3 days`.
pub fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s if s >= 172_800 => count(s / 86_400, "day"),
        s if s >= 7_200 => count(s / 3_600, "hour"),
        s => count(s / 60, "minute"),
    }
}

/// The unit of a size, and so its precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeUnit {
    /// Whole kibibytes, rounded down.
    Kib,
    /// Tenths of a mebibyte, rounded.
    Mib,
    /// Whole gibibytes, rounded down.
    Gib,
}

/// Formats a size in bytes: `512 KiB`, `7.4 MiB`, `16 GiB`.
pub fn size(bytes: u64, unit: SizeUnit) -> String {
    match unit {
        SizeUnit::Kib => format!("{} KiB", bytes >> 10),
        SizeUnit::Mib => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        SizeUnit::Gib => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_counted_in_the_singular() {
        assert_eq!([0, 1, 2].map(|n: usize| count(n, "test")), ["0 tests", "1 test", "2 tests"]);
        assert_eq!([0, 1, 2].map(|n| form(n, "entry", "entries")), ["entries", "entry", "entries"]);
    }

    #[test]
    fn lists_have_their_word_between_all_parts() {
        assert_eq!((list_and(["a", "b", "c"]), list_or([1, 2])), ("a and b and c".to_owned(), "1 or 2".to_owned()));
        assert_eq!((list_and([""; 0]), list_or(["a"])), (String::new(), "a".to_owned()));
    }

    #[test]
    fn durations_are_more_exact_the_shorter_they_are() {
        let words = [4_250, 10_999, 65_000, 7_380_000].map(duration);
        assert_eq!(words, ["4.2 s", "10 s", "1 min 05 s", "2 h 03 min"]);
    }

    #[test]
    fn ages_are_in_the_largest_unit_with_at_least_two() {
        let words = [-5, 60, 720, 7_199, 7_200, 172_799, 172_800].map(age);
        assert_eq!(
            words,
            ["0 minutes", "1 minute", "12 minutes", "119 minutes", "2 hours", "47 hours", "2 days"],
            "a negative age is that of a file of the future"
        );
    }

    #[test]
    fn sizes_are_in_the_unit_that_is_asked_for() {
        assert_eq!(size(2047, SizeUnit::Kib), "1 KiB");
        assert_eq!(size((7 << 20) + (1 << 19), SizeUnit::Mib), "7.5 MiB");
        assert_eq!(size((4 << 30) - 1, SizeUnit::Gib), "3 GiB");
    }
}
