//! Names in one line.

/// What is named in one line; the rest is counted.
const MOST_NAMED: usize = 3;

/// A few of what there is; the rest is counted.
pub(in crate::commands) fn named(all: &[&str]) -> String {
    match all.len().saturating_sub(MOST_NAMED) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..MOST_NAMED].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_a_few_are_named() {
        assert_eq!(named(&["a", "b", "c"]), "a, b, c");
        assert_eq!(named(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
