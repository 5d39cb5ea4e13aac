use super::*;
use crate::sample;

#[test]
fn a_test_explains_itself() {
    insta::assert_snapshot!(test(&sample::catalogue()[6]));
}

#[test]
fn a_capability_lists_what_it_requires_under_each_profile() {
    let shown = [Capability::FsVirtioFs, Capability::FsVirtio9p, Capability::VmmTdx, Capability::KataSmoke]
        .map(|c| capability(c, &sample::catalogue(), &sample::profiles()))
        .join("---\n");
    insta::assert_snapshot!(shown);
}

#[test]
fn every_capability_has_a_meaning_to_print() {
    for c in Capability::ALL {
        let text = capability(*c, &sample::catalogue(), &sample::profiles());
        assert!(text.contains(c.meaning()), "{text}");
    }
}
