package osinfo

// Check is the answer of `check`. Verified, Matches and Configured are set only by `check --all`.
type Check struct {
	Document
	// System that was examined.
	System System `json:"system"`
	// Installed is true if all requested components are installed.
	Installed bool `json:"installed"`
	// Components of the record, and their state on the system.
	Components []Component `json:"components"`
	// NotInRecord lists kinds of components that Kata needs and the record does not have.
	NotInRecord []string `json:"not-in-record"`
	// Verified has the recorded runs, each compared with the installed packages.
	Verified []Standing `json:"verified"`
	// Matches is true if all installed versions are the verified ones.
	Matches bool `json:"matches"`
	// Configured lists problems of the configuration that `configure` wrote.
	Configured []Problem `json:"configured"`
}

// Component is one of Kata's components on a system.
type Component struct {
	// Kind is `vmm`, `fs`, `kernel`, `container-manager` and so on.
	Kind string `json:"kind"`
	// Name in the record.
	Name string `json:"name"`
	// Installed is true if the component can be used.
	Installed bool `json:"installed"`
	// Presence is `installed`, `not-installed`, `not-packaged`, `unreadable` or `unknown`.
	Presence string `json:"presence"`
	// Path of the component's file, or empty.
	Path string `json:"path"`
	// Resolved is the target of the path's symbolic links, if it differs from the path.
	Resolved string `json:"resolved"`
	// Package that owns the file, or nil.
	Package *Installed `json:"package"`
	// Version of that package.
	Version string `json:"version"`
	// Packages that the record names.
	Packages []Wanted `json:"packages"`
	// Problem of the component, or empty.
	Problem string `json:"problem"`
	// Said is the program's answer to `--version`; only with `--run-programs`.
	Said *Said `json:"said"`
}

// Installed is an installed package.
type Installed struct {
	// Package is the package's name.
	Package string `json:"package"`
	// Version of the package.
	Version string `json:"version"`
}

// Wanted is a package that a record names.
type Wanted struct {
	// Name in the record.
	Name string `json:"name"`
	// Installed packages that have that name or provide it.
	Installed []Installed `json:"installed"`
}

// Said is a program's answer to `--version`; one of the two fields is set.
type Said struct {
	// Version is the first line that it printed.
	Version string `json:"version"`
	// Nothing is the reason why there is no version.
	Nothing string `json:"nothing"`
}

// Standing is a recorded run, compared with the installed packages.
type Standing struct {
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
	// AgeDays is the number of days since then.
	AgeDays int `json:"age-days"`
	// Harness is the version of kata-qualify.
	Harness string `json:"harness"`
	// Capabilities that were requested.
	Capabilities []Judged `json:"capabilities"`
	// Versions of the packages, verified and installed.
	Versions []VersionPair `json:"versions"`
	// Supported is true if all these capabilities are supported.
	Supported bool `json:"supported"`
	// Matches is true if all installed versions are the verified ones.
	Matches bool `json:"matches"`
}

// Verified is the answer of `verified`.
type Verified struct {
	Document
	// System that was examined.
	System System `json:"system"`
	// Verified is true if all profiles are verified.
	Verified bool `json:"verified"`
	// Profiles that were requested.
	Profiles []VerifiedProfile `json:"profiles"`
}

// VerifiedProfile tells whether recorded runs together proved all requested capabilities of a profile with the
// installed versions.
type VerifiedProfile struct {
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// Verified is true if they did.
	Verified bool `json:"verified"`
	// Entries are the recorded runs of the profile.
	Entries []Standing `json:"entries"`
}
