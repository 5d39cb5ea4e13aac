package osinfo

// Check is the answer of `check`; the last three are those of `check --all`.
type Check struct {
	Document
	// System that it is about.
	System System `json:"system"`
	// Installed says whether all that was asked for is there.
	Installed bool `json:"installed"`
	// Components as they are on the system.
	Components []Component `json:"components"`
	// NotInRecord are kinds that Kata needs and of which the record has none.
	NotInRecord []string `json:"not-in-record"`
	// Verified is each recorded run beside what is installed.
	Verified []Standing `json:"verified"`
	// Matches says whether all versions are those that were verified.
	Matches bool `json:"matches"`
	// Configured is what is wrong with what was configured.
	Configured []Problem `json:"configured"`
}

// Component is one of Kata's needs as it is on a system.
type Component struct {
	// Kind is `vmm`, `fs`, `kernel`, `container-manager` and so on.
	Kind string `json:"kind"`
	// Name in the record.
	Name string `json:"name"`
	// Installed says whether it can be used.
	Installed bool `json:"installed"`
	// Presence is `installed`, `not-installed`, `not-packaged`, `unreadable` or `unknown`.
	Presence string `json:"presence"`
	// Path of the file, or empty.
	Path string `json:"path"`
	// Resolved is where its links lead, if elsewhere.
	Resolved string `json:"resolved"`
	// Package that owns the file, or nil.
	Package *Installed `json:"package"`
	// Version of that package.
	Version string `json:"version"`
	// Packages that the record names.
	Packages []Wanted `json:"packages"`
	// Problem says what is wrong, or is empty.
	Problem string `json:"problem"`
	// Said is what the program answered with `--run-programs`.
	Said *Said `json:"said"`
}

// Installed is an installed package.
type Installed struct {
	// Package is its name.
	Package string `json:"package"`
	// Version of it.
	Version string `json:"version"`
}

// Wanted is a package that a record names.
type Wanted struct {
	// Name in the record.
	Name string `json:"name"`
	// Installed is what has that name, or provides it.
	Installed []Installed `json:"installed"`
}

// Said is what a program answered when it was asked for its version: one of the two.
type Said struct {
	// Version is the first line that it printed.
	Version string `json:"version"`
	// Nothing is why there is none.
	Nothing string `json:"nothing"`
}

// Standing is a recorded run beside what is installed.
type Standing struct {
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
	// AgeDays is how long ago that was.
	AgeDays int `json:"age-days"`
	// Harness is kata-qualify's version.
	Harness string `json:"harness"`
	// Capabilities that were asked for.
	Capabilities []Judged `json:"capabilities"`
	// Versions then and now.
	Versions []VersionPair `json:"versions"`
	// Supported says whether all these capabilities are.
	Supported bool `json:"supported"`
	// Matches says whether all versions are the same.
	Matches bool `json:"matches"`
}

// Verified is the answer of `verified`.
type Verified struct {
	Document
	// System that it is about.
	System System `json:"system"`
	// Verified says whether all profiles are.
	Verified bool `json:"verified"`
	// Profiles that were asked for.
	Profiles []VerifiedProfile `json:"profiles"`
}

// VerifiedProfile says whether runs have proved, together, all that was asked for of a profile, in the versions that are
// installed.
type VerifiedProfile struct {
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// Verified says whether they have.
	Verified bool `json:"verified"`
	// Entries are all runs.
	Entries []Standing `json:"entries"`
}
