//! Programs supplied by the person who tries the faults, because no release here packages them: Cloud Hypervisor and
//! Firecracker.

use super::corpus::Means;
use model::component::Component;
use std::path::PathBuf;

/// Returns the component's program, if the environment names one: `CLOUD_HYPERVISOR=PATH`.
pub(crate) fn program(component: Component) -> Option<PathBuf> {
    std::env::var_os(component.name().replace('-', "_").to_uppercase()).map(PathBuf::from)
}

/// Returns whether everything that a fault needs is available.
pub(crate) fn is_available(by: &Means) -> bool {
    match by {
        Means::Lent { component, .. } => program(*component).is_some(),
        _ => true,
    }
}

/// Packs a program and a preloaded library into one file, because a component is one file. The file unpacks both and
/// then runs the program.
pub(crate) fn with_library(program: &[u8], library: &[u8]) -> Vec<u8> {
    let head = |from: usize| {
        let (library_at, program_at) = (from + 1, from + library.len() + 1);
        format!(
            "#!/bin/sh\nset -e\nhere=$(mktemp -d)\n\
             tail -c +{library_at:010} \"$0\" | head -c {size} >\"$here/functions.so\"\n\
             tail -c +{program_at:010} \"$0\" >\"$here/program\"\n\
             chmod 755 \"$here/program\"\n\
             LD_PRELOAD=\"$here/functions.so\" exec \"$here/program\" \"$@\"\n",
            size = library.len()
        )
    };
    // The script's length does not depend on the numbers in it.
    let script = head(head(0).len());
    [script.as_bytes(), library, program].concat()
}
