//! Short lists of names on one line.

/// Most names in a list; the rest is counted.
const MOST_NAMED: usize = 3;

/// Formats the first names of a list and the number of the others.
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
    fn long_lists_of_names_are_shortened() {
        assert_eq!(named(&["a", "b", "c"]), "a, b, c");
        assert_eq!(named(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
