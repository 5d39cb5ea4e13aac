//! The tests that the filter of a run chooses.

use crate::journal::RunFilter;
use model::test_id::TestId;
use std::collections::BTreeSet;
use suites::catalogue::{Test, chooses};

/// Returns the tests that a filter chooses, with those that can block them; `None` if it does not depend on the tests'
/// names.
pub(super) fn chosen(filter: Option<&RunFilter>, catalogue: &[Test]) -> Option<BTreeSet<TestId>> {
    let filters = match filter? {
        filter @ RunFilter::Matching(_) => filter.filters(),
        RunFilter::RerunOf(_) => return None,
    };
    let mut open: Vec<&Test> =
        catalogue.iter().filter(|test| filters.iter().any(|filter| chooses(filter, test))).collect();
    let mut chosen = BTreeSet::new();
    while let Some(test) = open.pop() {
        if chosen.insert(test.id.clone()) {
            open.extend(catalogue.iter().filter(|other| test.blocked_by.contains(&other.id)));
        }
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{BOOT, DAEMON, POSIX, RENAME, TDX, VSOCK, catalogue};

    #[test]
    fn a_filter_also_chooses_what_can_block_the_chosen_tests() {
        let chosen = |text: &str| {
            let all = chosen(Some(&RunFilter::Matching(text.to_owned())), &catalogue()).unwrap();
            all.into_iter().map(|test| test.to_string()).collect::<Vec<String>>()
        };
        assert_eq!(chosen("tdx"), [TDX]);
        assert_eq!(chosen("pjdfstest"), [POSIX, RENAME, DAEMON, BOOT]);
        assert_eq!(chosen("tdx,vmm.vsock"), [BOOT, TDX, VSOCK]);
        assert_eq!(super::chosen(None, &catalogue()), None);
        assert_eq!(super::chosen(Some(&RunFilter::RerunOf("r1".to_owned())), &catalogue()), None);
    }
}
