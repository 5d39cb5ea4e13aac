//! Lookup of the package that contains a component in a cell, for bug reports, pages and others.

use crate::installed::InstalledPackage;
use crate::matrix::CellReport;
use model::package::PackageName;
use model::release::Release;
use suites::outcome::Component;

/// Returns the name of the binary package that contains a component on a release; `None` if the record names none.
///
/// For a kernel, returns the package of the kernel that ran instead of the one that only depends on the newest, if the
/// cell's image has it.
pub(crate) fn binary(release: &Release, cell: Option<&CellReport>, component: Component) -> Option<PackageName> {
    let kernel = cell.and_then(|cell| cell.facts.as_ref()?.kernel.as_ref()).filter(|_| component == Component::Kernel);
    let image = kernel.and_then(|kernel| installed(cell?, &format!("{KERNEL}{kernel}")));
    image.map(|package| package.name.clone()).or_else(|| release.packages_of(component).first().cloned())
}

/// Prefix of packages that have a kernel's version in their name.
const KERNEL: &str = "linux-image-";

/// Checks whether a package has a kernel's version in its name, so that people know it by its source package.
pub(crate) fn is_of_a_kernel(binary: &str) -> bool {
    binary.starts_with(KERNEL)
}

/// Returns a package in a cell's image, if the image's manifest is kept.
pub(crate) fn installed<'c>(cell: &'c CellReport, binary: &str) -> Option<&'c InstalledPackage> {
    cell.packages.iter().find(|package| package.name == *binary)
}

/// Returns the source package that takes the bugs of another one: for a signed kernel, the package that the kernel is
/// built from instead of the one that signs it.
pub(crate) fn source_package_for_bugs(source: &str) -> String {
    /// Debian has a signing package for each architecture (<https://wiki.debian.org/SecureBoot>), Ubuntu one for each
    /// flavour.
    const OF_DEBIAN: [&str; 2] = ["-amd64", "-arm64"];
    match source.strip_prefix("linux-signed") {
        Some(rest) if OF_DEBIAN.contains(&rest) => "linux".to_owned(),
        Some(flavour) => format!("linux{flavour}"),
        None => source.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bugs_of_a_signed_kernel_belong_to_its_unsigned_source_package() {
        for (source, expected) in [
            ("linux-signed-amd64", "linux"),
            ("linux-signed", "linux"),
            ("linux-signed-hwe-6.8", "linux-hwe-6.8"),
            ("linux", "linux"),
            ("qemu", "qemu"),
        ] {
            assert_eq!(source_package_for_bugs(source), expected);
        }
    }
}
