//! Schema of a record file.

use super::{ApiVersion, Day, OneOrMany, Version};
use crate::arch::Arch;
use crate::package_manager::PackageManager;
use schemars::JsonSchema;

/// Everything that one Linux distro offers Kata Containers.
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
    /// The distro that this one is built from; its record lies below this one.
    derives_from: Option<String>,
    /// Short form for releases that override nothing.
    version: Option<OneOrMany<Version>>,
    /// The package manager.
    package_manager: Option<PackageManager>,
    /// The proposal's name of `package-manager`.
    package_installer: Option<PackageManager>,
    /// Architectures, by Kata's names.
    arch: Option<OneOrMany<Arch>>,
    /// Confidence of the facts, unless a map states its own.
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
    /// The package manager, if it differs from the distro's usual one.
    package_manager: Option<PackageManager>,
    /// The platform of the package manager's modules, as in os-release's `PLATFORM_ID` after `platform:`.
    module_platform: Option<String>,
    /// Day of the release.
    released: Option<Day>,
    /// Last day of the distro's own support.
    eol: Option<Day>,
    /// Last day of long-term support.
    lts: Option<Day>,
    /// Architectures, if they differ.
    arch: Option<OneOrMany<Arch>>,
    /// Confidence of the release's facts.
    confidence: Option<Confidence>,
    #[schemars(flatten)]
    offers: Offers,
}

/// Offers of a distro, by default or in one release.
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
    /// Packages that are in none of the repositories that the OCI image configures.
    image_lacks: Option<String>,
    /// The origin of Kata's parts, if they are not packages.
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
    /// Programs that confine a VMM, such as Firecracker's jailer.
    jailer: Option<OrUnknown<OneOrMany<Component>>>,
    /// Snapshotters that Kata is used with, such as nydus-snapshotter.
    snapshotter: Option<OrUnknown<OneOrMany<Component>>>,
}

/// A value for all architectures, or one for each.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum PerArch<T> {
    All(T),
    Each(Box<EachArch<T>>),
}

/// One value for each architecture; for a missing architecture nothing is stated.
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
    /// Packages to install; `none` if the admin's own build needs none.
    packages: Option<PerArch<OneOrMany<String>>>,
    /// The program's path.
    path: Option<PerArch<AbsolutePath>>,
    /// The confidence.
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
    /// The confidence.
    confidence: Option<Confidence>,
}

/// An absolute path, or `unknown`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct AbsolutePath(#[schemars(regex(pattern = r"^(/.*|unknown)$"))] String);

/// A list of drivers, or a map with a preferred one.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Filesystems {
    List(Vec<Component>),
    Map(PreferredDrivers),
}

/// Drivers and the preferred one; a release may state only the preference.
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

/// A suite with its archive and components, which both default to `main`.
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

/// Confidence of a fact.
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

/// The unknown value.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Unknown {
    Unknown,
}
