//! A look-up of the files that are cited from Kata's source.

use crate::checkout::{Checkout, CheckoutError};
use crate::report::{Report, SourceDifference};
use std::collections::{BTreeMap, BTreeSet};

/// Looks up each cited file at its tag, and reports those that are not there.
///
/// # Errors
/// When the checkout cannot be read.
pub fn look_up_citations<'c>(
    checkout: &Checkout,
    cited: impl IntoIterator<Item = (String, &'c str)>,
    report: &mut Report,
) -> Result<(), CheckoutError> {
    let mut by_tag: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (tag, file) in cited {
        by_tag.entry(tag).or_default().insert(file);
    }
    for (tag, files) in by_tag {
        let files: Vec<&str> = files.into_iter().collect();
        // Without the tag, none of its files are there.
        let tree = checkout.tree(&tag, &files)?.unwrap_or_default();
        report.citations += files.len();
        for file in files {
            if tree.first(&[file]).is_none() {
                let what = "this file is cited, and is not there".to_owned();
                report.differences.push(SourceDifference { tag: tag.clone(), place: file.to_owned(), what });
            }
        }
    }
    Ok(())
}
