//! The form of a record's file.

use super::{ApiVersion, Day, OneOrMany, Version};
use crate::arch::Arch;
use crate::package_manager::PackageManager;
use schemars::JsonSchema;

/// What one Linux distro offers Kata Containers.
///
/// Top-level values are defaults; a release overrides what differs, key by key.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct RecordFile {
    /// The format's version.
    #[schemars(rename = "apiVersion")]
    api_version: Option<ApiVersion>,
    /// The distro: os-release's `ID` in lower case.
    #[schemars(regex(pattern = r"^[a-z0-9._-]+$"))]
    distro: String,
    /// Other values of `ID` that mean this distro.
    ids: Option<OneOrMany<String>>,
    /// The distro that this one is built from; its record is beneath this one.
    derives_from: Option<String>,
    /// Short for releases that override nothing.
    version: Option<OneOrMany<Version>>,
    /// What installs packages.
    package_manager: Option<PackageManager>,
    /// The proposal's name of `package-manager`.
    package_installer: Option<PackageManager>,
    /// Architectures, by Kata's names.
    arch: Option<OneOrMany<Arch>>,
    /// How well the facts are known, unless a map says otherwise of its own.
    confidence: Option<Confidence>,
    /// The releases: numbered ones ascending, then testing, unstable, rawhide.
    releases: Option<Vec<ReleaseFile>>,
    #[schemars(flatten)]
    offers: Offers,
}

/// A release and what differs from the distro's defaults.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ReleaseFile {
    /// The version; a number keeps its text.
    version: Version,
    /// The codename.
    codename: Option<Version>,
    /// Other names, `stable`.
    aliases: Option<OneOrMany<Version>>,
    /// The release of the parent distro that it is built from.
    derives_from: Option<Version>,
    /// What installs packages, where it is not the distro's usual one.
    package_manager: Option<PackageManager>,
    /// What its modules are built for, as `PLATFORM_ID` of os-release has it after `platform:`.
    module_platform: Option<String>,
    /// Day of the release.
    released: Option<Day>,
    /// Last day of the distro's own support.
    eol: Option<Day>,
    /// Last day of long-term support.
    lts: Option<Day>,
    /// Architectures, where they differ.
    arch: Option<OneOrMany<Arch>>,
    /// How well its facts are known.
    confidence: Option<Confidence>,
    #[schemars(flatten)]
    offers: Offers,
}

/// What a distro offers, by default or in one release.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
struct Offers {
    /// Suites of a Debian-like archive.
    suites: Option<OneOrMany<Suite>>,
    /// Repositories to enable.
    repositories: Option<OneOrMany<String>>,
    /// Modules of the package manager to enable.
    modules: Option<OneOrMany<String>>,
    /// The OCI image.
    image: Option<String>,
    /// What is in none of the repositories that the OCI image names.
    image_lacks: Option<String>,
    /// Where Kata's parts come from, where they are no packages.
    parts_from: Option<String>,
    /// VMMs, the preferred one first.
    vmm: Option<OrUnknown<OneOrMany<Component>>>,
    /// Shared filesystems.
    fs: Option<OrUnknown<Filesystems>>,
    /// The kernel.
    kernel: Option<OrUnknown<Kernel>>,
    /// Container managers, the preferred one first.
    container_manager: Option<OrUnknown<OneOrMany<Component>>>,
    /// Kata itself, as the distro packages it.
    kata: Option<OrUnknown<OneOrMany<Component>>>,
    /// Firmware of guests, such as OVMF.
    firmware: Option<OrUnknown<OneOrMany<Component>>>,
    /// What confines a VMM, such as Firecracker's jailer.
    jailer: Option<OrUnknown<OneOrMany<Component>>>,
    /// Snapshotters that Kata is used with, such as nydus-snapshotter.
    snapshotter: Option<OrUnknown<OneOrMany<Component>>>,
}

/// A value for all architectures, or one each.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum PerArch<T> {
    All(T),
    Each(Box<EachArch<T>>),
}

/// A value each; an architecture that is missing has none.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct EachArch<T> {
    x86_64: Option<T>,
    aarch64: Option<T>,
    ppc64le: Option<T>,
    s390x: Option<T>,
}

/// A component as the distro packages it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Component {
    /// `qemu`, `virtio-fs`, `containerd`.
    name: String,
    /// Packages to install; `none` where the admin's own build needs none.
    packages: Option<PerArch<OneOrMany<String>>>,
    /// The program's path.
    path: Option<PerArch<AbsolutePath>>,
    /// How well this is known.
    confidence: Option<Confidence>,
}

/// The kernel as the distro packages it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Kernel {
    /// Packages to install.
    packages: Option<PerArch<OneOrMany<String>>>,
    /// The image's path, with `*` for its version.
    image: Option<PerArch<AbsolutePath>>,
    /// How well this is known.
    confidence: Option<Confidence>,
}

/// A path from `/`, or `unknown`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct AbsolutePath(#[schemars(regex(pattern = r"^(/.*|unknown)$"))] String);

/// A list of drivers, or a map that prefers one.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Filesystems {
    List(Vec<Component>),
    Map(PreferredDrivers),
}

/// Drivers and the preferred one; a release may state the preference alone.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct PreferredDrivers {
    preferred: Option<String>,
    drivers: Option<Vec<Component>>,
}

/// A suite by name, or with its archive and components.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Suite {
    Name(String),
    Map(SuiteMap),
}

/// A suite with its archive and components, `main` both unless stated.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct SuiteMap {
    name: String,
    archive: Option<Archive>,
    components: Option<OneOrMany<String>>,
}

/// An archive of Debian or Ubuntu.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Archive {
    Main,
    Security,
}

/// How well a fact is known.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Confidence {
    Assumed,
    Documented,
    Packaging,
    Measured,
}

/// A value, or the word `unknown`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OrUnknown<T> {
    Known(T),
    Unknown(Unknown),
}

/// That nobody knows.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Unknown {
    Unknown,
}
