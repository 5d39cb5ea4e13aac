//! Documents about the tests, about Kata's demands, and about findings.

pub(crate) mod demands;
pub(crate) mod findings;
pub(crate) mod tests_page;

/// Removes duplicates and keeps the order of first occurrence.
fn once<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// Returns words as code spans: `a`, `b`.
fn spans<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
