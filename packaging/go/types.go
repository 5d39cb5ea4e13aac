package osinfo

// Release is one version of a distro, as every document has it.
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
	// Released is the day of the release, `2025-08-09`, or empty where nobody knows it.
	Released string `json:"released"`
	// EOL is the last day of the distro's own support, or empty.
	EOL string `json:"eol"`
	// LTS is the last day of long-term support, or empty.
	LTS string `json:"lts"`
}

// Detect is the answer of `detect`.
type Detect struct {
	Document
	// Root is the system's.
	Root string `json:"root"`
	// System is what it says it is, and what that is to kata-osinfo.
	System Detection `json:"system"`
}

// Detection is what a system says it is, and what that is to kata-osinfo.
type Detection struct {
	// ID is os-release's.
	ID string `json:"id"`
	// VersionID is os-release's VERSION_ID, or empty.
	VersionID string `json:"version-id"`
	// Codename is os-release's VERSION_CODENAME, or empty.
	Codename string `json:"codename"`
	// Name is os-release's PRETTY_NAME, or empty.
	Name string `json:"name"`
	// Distro is that of the record that is meant, also where it has no such release.
	Distro string `json:"distro"`
	// By says how the record was found: `id`, `platform-id`, `id-like`.
	By string `json:"by"`
	// Releases are one, two where nothing tells them apart, or none.
	Releases []Release `json:"releases"`
	// Fit is `exact`, `prefix` or `rolling`.
	Fit string `json:"fit"`
	// Derivative is what the system is, where its os-release is that of the distro that it is built from.
	Derivative *Derivative `json:"derivative"`
	// Borrowed says which relative's release stands in for its own: `as rhel:10, by ID_LIKE`.
	Borrowed string `json:"borrowed"`
	// Refused says why the record that os-release leads to is not the system's.
	Refused string `json:"refused"`
	// Arch is Kata's name of the architecture, or empty where nothing tells it.
	Arch string `json:"arch"`
}

// Derivative is a system beside what its os-release says.
type Derivative struct {
	// Name is `Proxmox VE`.
	Name string `json:"name"`
	// Sign is the file that it is known by.
	Sign string `json:"sign"`
}

// System is the head of an answer about one.
type System struct {
	// Release that it is, or that was named.
	Release Release `json:"release"`
	// Arch is Kata's name of the architecture.
	Arch string `json:"arch"`
	// Root is the system's.
	Root string `json:"root"`
	// Borrowed says which relative's release stands in for its own, or is empty.
	Borrowed string `json:"borrowed"`
}

// List is the answer of `list`.
type List struct {
	Document
	// Releases that are known.
	Releases []Listed `json:"releases"`
}

// Listed is a release that is known.
type Listed struct {
	// Release that it is.
	Release Release `json:"release"`
	// Arches are its architectures, by Kata's names.
	Arches []string `json:"arches"`
}

// Show is the answer of `show`.
type Show struct {
	Document
	// Releases that were asked for.
	Releases []Shown `json:"releases"`
}

// Shown is what a record says of a release.
type Shown struct {
	// Release that it is.
	Release Release `json:"release"`
	// Arch that the rest is about.
	Arch string `json:"arch"`
	// PackageManager is `apt`; `none` where the system comes as an image.
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
	// ContainerManager of the distro, or nil.
	ContainerManager *Packaged `json:"container-manager"`
	// Facts are all that the record states, with how well it is known.
	Facts []Fact `json:"facts"`
	// Verified is what runs found.
	Verified []Run `json:"verified"`
}

// Suite is one of a package archive.
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
	// Packages to install.
	Packages []string `json:"packages"`
	// Path of the program; empty where there is none.
	Path string `json:"path"`
}

// Kernel is the distro's.
type Kernel struct {
	// Packages to install.
	Packages []string `json:"packages"`
	// Image is the pattern of its path: `/boot/vmlinuz-*`.
	Image string `json:"image"`
}

// Fact is one line of a record.
type Fact struct {
	// Subject is `vmm qemu path`.
	Subject string `json:"subject"`
	// Value, nil where the record says that nobody knows it.
	Value *string `json:"value"`
	// Confidence is `assumed`, `documented`, `packaging` or `measured`.
	Confidence string `json:"confidence"`
	// Origin is file and line, where they are told.
	Origin *Origin `json:"origin"`
}

// Origin is where a fact stands.
type Origin struct {
	// File is its name in the repository where it is built in.
	File string `json:"file"`
	// Line from 1.
	Line int `json:"line"`
}

// Run is what one run of kata-qualify found.
type Run struct {
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// Environment is `container`, `vm` or `host`.
	Environment string `json:"environment"`
	// Basis is `hardware` or `emulated`.
	Basis string `json:"basis"`
	// Shaped says that keys, an image or records of the caller's vouched for the packages, which may not have been the distro's own.
	Shaped bool `json:"shaped"`
	// Tested is the day, `2026-11-29`.
	Tested string `json:"tested"`
	// Harness is kata-qualify's version.
	Harness string `json:"harness"`
	// TestSet is a digest of what was required.
	TestSet string `json:"test-set"`
	// Kata that was run, where the verdicts are Kata's own; nil elsewhere.
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
	// Brought is what took the place of the distro's own components, by component.
	Brought map[string]string `json:"brought"`
}

// VersionPair is a package's version then and now.
type VersionPair struct {
	// Package is its name.
	Package string `json:"package"`
	// Verified is the version that was verified.
	Verified string `json:"verified"`
	// Installed is the version that is installed, where that was asked; empty where none is.
	Installed string `json:"installed"`
}

// Judged is a capability and its verdict.
type Judged struct {
	// Capability is `vmm.boot`.
	Capability string `json:"capability"`
	// Verdict is `supported`, `partial`, `offered`, `unsupported`, `untested`, `inconclusive` or `not-applicable`; empty
	// where the run had none.
	Verdict string `json:"verdict"`
	// Causes of what is not supported.
	Causes []Cause `json:"causes"`
	// Workaround with which it works in part.
	Workaround string `json:"workaround"`
}

// Cause is why a capability has its verdict.
type Cause struct {
	// Component at fault, `qemu`; empty where nobody could be shown to be.
	Component string `json:"component"`
	// Test that showed it; empty where it is not one test's.
	Test string `json:"test"`
	// Message is what was seen, or what was lacking.
	Message string `json:"message"`
}
