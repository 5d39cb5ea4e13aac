package osinfo

// Release is a release of a distro, in every document.
type Release struct {
	// Name is `debian:13`.
	Name string `json:"name"`
	// Distro is `debian`.
	Distro string `json:"distro"`
	// Version is `13`.
	Version string `json:"version"`
	// Codename is `trixie`, or empty.
	Codename string `json:"codename"`
	// Aliases are other names: `stable`.
	Aliases []string `json:"aliases"`
	// Released is the day of the release, `2025-08-09`, or empty if unknown.
	Released string `json:"released"`
	// EOL is the last day of the distro's own support, or empty.
	EOL string `json:"eol"`
	// LTS is the last day of long-term support, or empty.
	LTS string `json:"lts"`
}

// Detect is the answer of `detect`.
type Detect struct {
	Document
	// Root is the system's root directory.
	Root string `json:"root"`
	// System has the system's os-release, and the releases that it matches.
	System Detection `json:"system"`
}

// Detection is a system's os-release, and the releases that it matches.
type Detection struct {
	// ID is os-release's ID.
	ID string `json:"id"`
	// VersionID is os-release's VERSION_ID, or empty.
	VersionID string `json:"version-id"`
	// Codename is os-release's VERSION_CODENAME, or empty.
	Codename string `json:"codename"`
	// Name is os-release's PRETTY_NAME, or empty.
	Name string `json:"name"`
	// Distro of the matching record, even if the record does not have this release.
	Distro string `json:"distro"`
	// By tells how the record was found: `id`, `platform-id`, `id-like`.
	By string `json:"by"`
	// Releases that match: none, one, or several if nothing distinguishes them.
	Releases []Release `json:"releases"`
	// Fit is `exact`, `prefix` or `rolling`.
	Fit string `json:"fit"`
	// Derivative is set if the system is a derivative whose os-release is that of its base distro.
	Derivative *Derivative `json:"derivative"`
	// Borrowed names a relative's release that is used in place of the system's own: `as rhel:10, by ID_LIKE`.
	Borrowed string `json:"borrowed"`
	// Refused is the reason why the record that os-release leads to does not apply to the system.
	Refused string `json:"refused"`
	// Arch is Kata's name of the architecture, or empty if unknown.
	Arch string `json:"arch"`
}

// Derivative is a derivative that its os-release does not reveal.
type Derivative struct {
	// Name is `Proxmox VE`.
	Name string `json:"name"`
	// Sign is the file that identifies the derivative.
	Sign string `json:"sign"`
}

// System is the head of an answer about a system.
type System struct {
	// Release of the system, or the release that was requested.
	Release Release `json:"release"`
	// Arch is Kata's name of the architecture.
	Arch string `json:"arch"`
	// Root is the system's root directory.
	Root string `json:"root"`
	// Borrowed names a relative's release that is used in place of the system's own, or is empty.
	Borrowed string `json:"borrowed"`
}

// List is the answer of `list`.
type List struct {
	Document
	// Releases that have a record.
	Releases []Listed `json:"releases"`
}

// Listed is a release that has a record.
type Listed struct {
	// Release is the release itself.
	Release Release `json:"release"`
	// Arches are the release's architectures, by Kata's names.
	Arches []string `json:"arches"`
}

// Show is the answer of `show`.
type Show struct {
	Document
	// Releases that were requested.
	Releases []Shown `json:"releases"`
	// Borrowed names a relative's release that is shown in place of the system's own, or is empty.
	Borrowed string `json:"borrowed"`
	// Derivative is set if the system is a derivative whose os-release is that of its base distro.
	Derivative *Derivative `json:"derivative"`
}

// Shown has a record's facts about a release.
type Shown struct {
	// Release is the release itself.
	Release Release `json:"release"`
	// Arch is the architecture for which the other fields apply.
	Arch string `json:"arch"`
	// PackageManager is, for example, `apt`; `none` if the system comes as an image.
	PackageManager string `json:"package-manager"`
	// Suites of a Debian-like archive.
	Suites []Suite `json:"suites"`
	// Image is the OCI image, or empty.
	Image string `json:"image"`
	// VMMs, the preferred one first.
	VMMs []Packaged `json:"vmm"`
	// Filesystems, the preferred one first.
	Filesystems []Packaged `json:"fs"`
	// Kernel of the distro, or nil.
	Kernel *Kernel `json:"kernel"`
	// ContainerManager is the preferred one whose packages and path are known, or nil.
	ContainerManager *Packaged `json:"container-manager"`
	// ContainerManagers of the distro, the preferred one first.
	ContainerManagers []Packaged `json:"container-managers"`
	// Kata as the distro packages it.
	Kata []Packaged `json:"kata"`
	// Firmware of guests.
	Firmware []Packaged `json:"firmware"`
	// Jailers, which confine a VMM.
	Jailers []Packaged `json:"jailer"`
	// Snapshotters that Kata is used with.
	Snapshotters []Packaged `json:"snapshotter"`
	// Facts are all statements of the record, with their confidence.
	Facts []Fact `json:"facts"`
	// Verified has the results of runs.
	Verified []Run `json:"verified"`
}

// Suite is a suite of a package archive.
type Suite struct {
	// Name is `trixie-security`.
	Name string `json:"name"`
	// Archive is `main` or `security`.
	Archive string `json:"archive"`
	// Components are `main` and so on.
	Components []string `json:"components"`
}

// Packaged is a component as a distro packages it.
type Packaged struct {
	// Name is `qemu`, `virtio-fs`, `containerd`.
	Name string `json:"name"`
	// Packages to install; nil if the record does not know them.
	Packages []string `json:"packages"`
	// Path of the program, or empty.
	Path string `json:"path"`
}

// Kernel is the distro's kernel.
type Kernel struct {
	// Packages to install.
	Packages []string `json:"packages"`
	// Image is a pattern for the kernel's path: `/boot/vmlinuz-*`.
	Image string `json:"image"`
}

// Fact is one statement of a record.
type Fact struct {
	// Subject is `vmm qemu path`.
	Subject string `json:"subject"`
	// Value, or nil if the record says `unknown`.
	Value *string `json:"value"`
	// Confidence is `assumed`, `documented`, `packaging` or `measured`.
	Confidence string `json:"confidence"`
	// Origin is the file and line, if they were requested with `--origin`.
	Origin *Origin `json:"origin"`
}

// Origin is the place of a fact.
type Origin struct {
	// File is the path; for a built-in record, its name in the repository.
	File string `json:"file"`
	// Line in the file, from 1.
	Line int `json:"line"`
}

// Run has the results of one run of kata-qualify.
type Run struct {
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// Environment is `container`, `vm` or `host`.
	Environment string `json:"environment"`
	// Basis is `hardware` or `emulated`.
	Basis string `json:"basis"`
	// Shaped is true if the caller's own keys, image or records vouched for the packages, which then may not be the
	// distro's own.
	Shaped bool `json:"shaped"`
	// Tested is the day of the run, `2026-11-29`.
	Tested string `json:"tested"`
	// Harness is the version of kata-qualify.
	Harness string `json:"harness"`
	// TestSet is a digest of the required tests.
	TestSet string `json:"test-set"`
	// Kata that was run, if the verdicts are about Kata itself; otherwise nil.
	Kata *RunKata `json:"kata"`
	// Versions of the packages.
	Versions []VersionPair `json:"versions"`
	// Capabilities with their verdicts.
	Capabilities []Judged `json:"capabilities"`
}

// RunKata is the Kata of a run.
type RunKata struct {
	// Version of Kata.
	Version string `json:"version"`
	// Runtime is `go` or `rs`.
	Runtime string `json:"runtime"`
	// Brought names the replacements of the distro's own components, by component.
	Brought map[string]string `json:"brought"`
}

// VersionPair has a package's verified and installed versions.
type VersionPair struct {
	// Package is the package's name.
	Package string `json:"package"`
	// Verified is the version that was verified.
	Verified string `json:"verified"`
	// Installed is the installed version, if it was queried; empty if the package is not installed.
	Installed string `json:"installed"`
}

// Judged is a capability and its verdict.
type Judged struct {
	// Capability is `vmm.boot`.
	Capability string `json:"capability"`
	// Verdict is `supported`, `partial`, `offered`, `unsupported`, `untested`, `inconclusive` or `not-applicable`; empty
	// if the run had none.
	Verdict string `json:"verdict"`
	// Flaky is set if a test failed before it passed, in a fresh guest of the same run.
	Flaky bool `json:"flaky"`
	// Causes of a verdict other than `supported`.
	Causes []Cause `json:"causes"`
	// Workaround with which the capability works in part.
	Workaround string `json:"workaround"`
}

// Cause is a cause of a capability's verdict.
type Cause struct {
	// Component at fault, such as `qemu`; empty if none could be shown to be at fault.
	Component string `json:"component"`
	// Test that showed the cause; empty if no single test did.
	Test string `json:"test"`
	// Message is the observation, or the missing prerequisite.
	Message string `json:"message"`
}
