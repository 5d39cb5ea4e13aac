//! Suggestions for unknown names.

/// Returns the known name most similar to `word`, if any is similar; for numbers, the closest one.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // The comparison is quadratic, and words of that length are not typos.
    if word.len() > 64 {
        return None;
    }
    let number = word.parse::<u64>().ok();
    let apart = |name: &str| number.and_then(|n| Some(n.abs_diff(name.parse().ok()?))).unwrap_or(u64::MAX);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(word.len()) / 3)
        .min_by_key(|(distance, name)| (*distance, apart(name)))
        .map(|(_, name)| name)
}

/// Formats `; did you mean ...?`, if there is a similar name.
pub(crate) fn did_you_mean(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

/// Formats names for a sentence.
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    quoted.join(", ")
}
