//! The JSON Schemas of a record and of a file of verdicts, from types that mirror their keys.
//!
//! They are decoded from a syntax tree, so that messages have places; these types describe the same form to editors and
//! other programs. A test holds the two together.

use schemars::JsonSchema;
use std::collections::BTreeMap;

/// A record's schema as a document with a newline at its end.
///
/// # Errors
///
/// None that is known: the schema is made of plain values.
pub fn record() -> serde_json::Result<String> {
    let schema = schemars::schema_for!(RecordFile);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// The schema of a file of verdicts, as [`record`] has a record's.
///
/// # Errors
///
/// None that is known.
pub fn verified() -> serde_json::Result<String> {
    let schema = schemars::schema_for!(VerdictsFile);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// What was verified of one Linux distro; never written by hand.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct VerdictsFile {
    /// The format's version.
    #[schemars(rename = "apiVersion")]
    api_version: Option<ApiVersion>,
    /// The distro, as its record names it.
    #[schemars(regex(pattern = r"^[a-z0-9._-]+$"))]
    distro: String,
    /// What each run proved.
    verified: Vec<Entry>,
}

/// What one Linux distro offers Kata Containers.
///
/// Top-level values are defaults; a release overrides what differs, key by key.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct RecordFile {
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
    /// Suites of a Debian-like archive.
    suites: Option<OneOrMany<Suite>>,
    /// Repositories to enable.
    repositories: Option<OneOrMany<String>>,
    /// Modules of the package manager to enable.
    modules: Option<OneOrMany<String>>,
    /// The OCI image.
    image: Option<String>,
    /// VMMs, the preferred one first.
    vmm: Option<OrUnknown<OneOrMany<Component>>>,
    /// Shared filesystems.
    fs: Option<OrUnknown<Filesystems>>,
    /// The kernel.
    kernel: Option<OrUnknown<Kernel>>,
    /// The container manager.
    container_manager: Option<OrUnknown<Component>>,
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
    /// Suites of a Debian-like archive.
    suites: Option<OneOrMany<Suite>>,
    /// Repositories to enable.
    repositories: Option<OneOrMany<String>>,
    /// Modules of the package manager to enable.
    modules: Option<OneOrMany<String>>,
    /// The OCI image.
    image: Option<String>,
    /// VMMs, the preferred one first.
    vmm: Option<OrUnknown<OneOrMany<Component>>>,
    /// Shared filesystems.
    fs: Option<OrUnknown<Filesystems>>,
    /// The kernel.
    kernel: Option<OrUnknown<Kernel>>,
    /// The container manager.
    container_manager: Option<OrUnknown<Component>>,
}

/// The format's version.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
enum ApiVersion {
    #[schemars(rename = "v1")]
    V1,
}

/// One value, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
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

/// Text, also where YAML reads it as a number.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Version {
    Text(String),
    Number(f64),
}

/// A day, `2025-08-09`, or `unknown`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Day(#[schemars(regex(pattern = r"^(\d{4}-\d{2}-\d{2}|unknown)$"))] String);

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

/// An architecture by Kata's name.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum Arch {
    X86_64,
    Aarch64,
    Ppc64le,
    S390x,
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

/// What installs packages.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum PackageManager {
    Apt,
    Dnf,
    Yum,
    Zypper,
    Pacman,
    Apk,
    Emerge,
    Nix,
}

/// What one run proved of a release, an architecture and a profile.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Entry {
    release: Version,
    arch: Arch,
    /// `rs-4.0`.
    profile: String,
    environment: Environment,
    basis: Basis,
    /// The day of the run, UTC.
    tested: Day,
    harness: Version,
    /// A digest of what was required.
    test_set: Version,
    /// Version of each component package.
    versions: Option<BTreeMap<String, Version>>,
    /// Verdicts by capability.
    #[schemars(extend("propertyNames" = capability_names()))]
    capabilities: BTreeMap<String, Judged>,
}

/// The names of the one table.
fn capability_names() -> serde_json::Value {
    let names: Vec<&str> = crate::capability::Capability::ALL.iter().map(|c| c.name()).collect();
    serde_json::json!({ "enum": names })
}

/// Where a target is brought up.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Environment {
    Container,
    Vm,
    Host,
}

/// What a verdict was found on.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Basis {
    Hardware,
    Emulated,
}

/// A verdict's word, or the word with what there is to say about it.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Judged {
    Word(Verdict),
    Map(JudgedMap),
}

/// A verdict with its causes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct JudgedMap {
    verdict: Verdict,
    causes: Option<OneOrMany<String>>,
    workaround: Option<String>,
}

/// What is true of a capability.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Verdict {
    Supported,
    Partial,
    Offered,
    Unsupported,
    NotApplicable,
    Untested,
    Inconclusive,
}

#[cfg(test)]
mod tests;
