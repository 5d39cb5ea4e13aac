//! Trackers of distros and upstreams: where they take bugs, what they call the release, and where to search first.

use super::case::FailedTest;
use super::error::BugError;
use super::form::Form;
use super::route::{Owner, Route, Ruling};
use model::package::PackageName;
use suites::outcome::Component;

/// The destination of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The form.
    pub form: Form,
    /// A web or mail address.
    pub address: String,
    /// Where to search first for known reports.
    pub search: Option<String>,
    /// A Bugzilla's name for the distro.
    pub product: String,
    /// A Bugzilla's name for the release.
    pub version: String,
    /// Whether the tracker sorts by source packages, so that a report names one as the component.
    pub has_packages: bool,
}

/// A distro's tracker; `{}` in an address is the source package.
struct Tracker {
    distro: &'static str,
    form: Form,
    address: &'static str,
    search: &'static str,
    /// The bugs of a binary package whose source is unknown; `{}` is the binary package's name.
    search_binary: &'static str,
    product: &'static str,
    has_packages: bool,
}

const fn tracker(distro: &'static str, form: Form, address: &'static str, search: &'static str) -> Tracker {
    Tracker { distro, form, address, search, search_binary: "", product: "", has_packages: true }
}

const fn bugzilla(distro: &'static str, address: &'static str, search: &'static str, product: &'static str) -> Tracker {
    Tracker { product, has_packages: false, ..tracker(distro, Form::Bugzilla, address, search) }
}

const GITHUB: &str = "?q={}";

/// The trackers of the distros, under the distros' own names.
const TRACKERS: &[Tracker] = &[
    Tracker {
        search_binary: "https://bugs.debian.org/{}",
        ..tracker("debian", Form::Debian, "submit@bugs.debian.org", "https://bugs.debian.org/src:{}")
    },
    tracker("ubuntu", Form::Launchpad, "new@bugs.launchpad.net", "https://bugs.launchpad.net/ubuntu/+source/{}"),
    Tracker {
        has_packages: true,
        ..bugzilla(
            "fedora",
            "https://bugzilla.redhat.com",
            "https://bugzilla.redhat.com/buglist.cgi?product=Fedora&component={}",
            "Fedora",
        )
    },
    bugzilla(
        "opensuse",
        "https://bugzilla.opensuse.org",
        "https://bugzilla.opensuse.org/buglist.cgi?quicksearch={}",
        "openSUSE Distribution",
    ),
    bugzilla(
        "sles",
        "https://bugzilla.suse.com",
        "https://bugzilla.suse.com/buglist.cgi?quicksearch={}",
        "SUSE Linux Enterprise Server",
    ),
    bugzilla("gentoo", "https://bugs.gentoo.org", "https://bugs.gentoo.org/buglist.cgi?quicksearch={}", "Gentoo Linux"),
    tracker("alpine", Form::Gitlab, "https://gitlab.alpinelinux.org/alpine/aports/-/issues", ""),
    tracker("arch", Form::Gitlab, "https://gitlab.archlinux.org/archlinux/packaging/packages/{}/-/issues", ""),
    tracker("nixos", Form::Gitlab, "https://github.com/NixOS/nixpkgs/issues", GITHUB),
    tracker("azurelinux", Form::Gitlab, "https://github.com/microsoft/azurelinux/issues", GITHUB),
    tracker("photon", Form::Gitlab, "https://github.com/vmware/photon/issues", GITHUB),
    tracker("flatcar", Form::Gitlab, "https://github.com/flatcar/Flatcar/issues", GITHUB),
    tracker("talos", Form::Gitlab, "https://github.com/siderolabs/talos/issues", GITHUB),
    tracker("bottlerocket", Form::Gitlab, "https://github.com/bottlerocket-os/bottlerocket/issues", GITHUB),
];

/// Kata's tracker.
const KATA: &str = "https://github.com/kata-containers/kata-containers/issues";
/// This program's tracker.
const OURS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/issues");

/// Returns the destination of a report: `to` is the form that was asked for; without it, the route decides.
///
/// # Errors
/// Why the report cannot go there.
pub fn destination(failed: &FailedTest<'_>, route: &Route, to: Option<Form>) -> Result<Destination, BugError> {
    let owner = match route.ruling {
        Ruling::Bug(owner) | Ruling::Wish(owner) => owner,
        Ruling::Nobody => return Err(BugError::NothingToReport { why: route.why.clone() }),
    };
    let found = match owner {
        Owner::Kata => plain(Form::Kata, KATA),
        Owner::Records => plain(Form::Gitlab, OURS),
        Owner::Upstream if to.is_none_or(|to| to == Form::Gitlab) => upstream(failed)?,
        Owner::Upstream => of_distro(failed).or_else(|_| upstream(failed))?,
        Owner::Distro => of_distro(failed)?,
    };
    match to.filter(|to| *to != found.form) {
        None => Ok(found),
        Some(to) => {
            let forms = match owner {
                Owner::Upstream if found.form != Form::Gitlab => format!("{} or {}", Form::Gitlab, found.form),
                Owner::Upstream | Owner::Distro | Owner::Kata | Owner::Records => found.form.to_string(),
            };
            Err(BugError::NotTakenAs { to, forms, why: route.why.clone() })
        }
    }
}

/// Returns the tracker of the developers of the component at fault.
fn upstream(failed: &FailedTest<'_>) -> Result<Destination, BugError> {
    let component = failed.failure.component;
    match component {
        Component::Qemu => Ok(plain(Form::Gitlab, "https://gitlab.com/qemu-project/qemu/-/issues")),
        Component::Virtiofsd => Ok(plain(Form::Gitlab, "https://gitlab.com/virtio-fs/virtiofsd/-/issues")),
        Component::CloudHypervisor
        | Component::Firecracker
        | Component::Kernel
        | Component::Containerd
        | Component::Packages
        | Component::Record
        | Component::Kata => Err(BugError::UnknownMakers { component }),
    }
}

/// Returns a tracker that has neither products nor packages.
fn plain(form: Form, address: &str) -> Destination {
    Destination {
        form,
        address: address.to_owned(),
        search: Some(address.to_owned()),
        product: String::new(),
        version: String::new(),
        has_packages: false,
    }
}

fn of_distro(failed: &FailedTest<'_>) -> Result<Destination, BugError> {
    let distro = &failed.record.distro;
    let Some(tracker) = TRACKERS.iter().find(|tracker| *distro == tracker.distro) else {
        return Err(BugError::UnknownTracker { distro: distro.clone() });
    };
    let package = failed.package();
    let source = package.source.as_ref().map(PackageName::as_str);
    let address = match source {
        Some(source) => tracker.address.replace("{}", source),
        None => tracker.address.replace("/{}", ""),
    };
    let search = search(tracker, &address, source, package.binary.as_ref().map(PackageName::as_str));
    Ok(Destination {
        form: tracker.form,
        address,
        search,
        product: product(tracker, failed),
        version: failed.release.version.to_string(),
        has_packages: tracker.has_packages && source.is_some(),
    })
}

/// Returns the address to search first: the tracker's own list of the package's bugs.
fn search(tracker: &Tracker, address: &str, source: Option<&str>, binary: Option<&str>) -> Option<String> {
    match (source, binary) {
        (Some(source), _) => Some(match tracker.search {
            "" => address.to_owned(),
            GITHUB => format!("{address}{GITHUB}").replace("{}", source),
            search => search.replace("{}", source),
        }),
        (None, Some(binary)) if !tracker.search_binary.is_empty() => Some(tracker.search_binary.replace("{}", binary)),
        (None, _) => None,
    }
}

/// Returns the product; openSUSE's rolling release is a product of its own there.
fn product(tracker: &Tracker, failed: &FailedTest<'_>) -> String {
    match (tracker.distro, failed.release.version.as_str()) {
        ("opensuse", "tumbleweed") => "openSUSE Tumbleweed".to_owned(),
        _ => tracker.product.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A distro that takes bugs in Debian's form has its own tracker, not Debian's.
    #[test]
    fn existing_bugs_are_searched_in_the_distros_own_tracker() {
        let derived = Tracker {
            search_binary: "https://bugs.derived.example/{}",
            ..tracker("derived", Form::Debian, "submit@derived.example", "https://bugs.derived.example/src:{}")
        };
        let silent = tracker("silent", Form::Debian, "submit@silent.example", "https://bugs.silent.example/src:{}");
        let found = |tracker: &Tracker, source| search(tracker, tracker.address, source, Some("qemu-system-x86"));
        assert_eq!(found(&derived, None).unwrap(), "https://bugs.derived.example/qemu-system-x86");
        assert_eq!(found(&derived, Some("qemu")).unwrap(), "https://bugs.derived.example/src:qemu");
        assert_eq!(found(&silent, None), None);
        let debian = TRACKERS.iter().find(|tracker| tracker.distro == "debian").unwrap();
        assert_eq!(found(debian, None).unwrap(), "https://bugs.debian.org/qemu-system-x86");
        let of_debian = TRACKERS.iter().filter(|tracker| tracker.search_binary.contains("debian.org"));
        assert_eq!(of_debian.count(), 1);
    }
}
