//! Completeness checks for hand-written lists of variants, by the variant names that serde's derive knows.

use crate::arch::Arch;
use crate::component::Component;
use crate::other_vmm::{OtherVmm, VmmName};
use crate::package_manager::PackageManager;
use crate::share::Share;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;

/// Returns the names of an enum's variants, in order, from serde's error: ``unknown variant `?`, expected one of `apt`,
/// `dnf` ``.
fn variants<T: DeserializeOwned + Debug>() -> Vec<String> {
    let error = serde_json::from_str::<T>("\"?\"").unwrap_err().to_string();
    let names: Vec<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(!names.is_empty(), "{error}");
    names
}

fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> Vec<String> {
    all.iter().map(|one| name(*one).to_owned()).collect()
}

#[test]
fn every_list_of_variants_is_complete() {
    assert_eq!(names(Arch::ALL, Arch::name), variants::<Arch>());
    assert_eq!(names(Component::ALL, Component::name), variants::<Component>());
    assert_eq!(names(PackageManager::ALL, PackageManager::name), variants::<PackageManager>());
    assert_eq!(names(Share::ALL, Share::name), variants::<Share>());
}

#[test]
fn every_other_vmm_has_a_file() {
    let with_a_file: BTreeSet<String> = OtherVmm::all().iter().map(|one| one.vmm.name().to_owned()).collect();
    assert_eq!(with_a_file, variants::<VmmName>().into_iter().collect::<BTreeSet<String>>());
}
