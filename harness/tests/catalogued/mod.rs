//! What the documents say: of the tests, of what Kata asks for, and of what was found.

pub(crate) mod demands;
pub(crate) mod findings;
pub(crate) mod tests_page;

/// Each once, in the order in which it is first there.
fn once<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// Words as code spans: `a`, `b`.
fn spans<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
