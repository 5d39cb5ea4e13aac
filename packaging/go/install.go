package osinfo

// Installer is the answer of `installer`.
type Installer struct {
	Document
	// System that was examined.
	System System `json:"system"`
	// Installer is `apt`, `dnf`, `tdnf` and so on; `none` if the system comes as an image.
	Installer string `json:"installer"`
	// Program is the installer's path, or empty if it was not found.
	Program string `json:"program"`
	// Place where it runs: `here` on the running system, `inside` or `outside` of another root, or `nowhere`.
	Place string `json:"place"`
	// Exercised is true if kata-osinfo runs this installer; otherwise it only reports the commands.
	Exercised bool `json:"exercised"`
}

// Packages is the answer of `packages`.
type Packages struct {
	Document
	// System that was examined.
	System System `json:"system"`
	// Packages to install.
	Packages []string `json:"packages"`
	// Repositories to enable for them.
	Repositories []string `json:"repositories"`
	// Modules of the package manager to enable for them.
	Modules []string `json:"modules"`
	// PartsFrom says where the parts of the system come from that no package provides, or is empty.
	PartsFrom string `json:"parts-from"`
	// NotPackaged lists requested components that the distro does not package.
	NotPackaged []string `json:"not-packaged"`
}

// Install is the answer of `install`.
type Install struct {
	Document
	// System that was examined.
	System System `json:"system"`
	// Plan has what was done, or would be; nil if no packages are needed.
	Plan *Plan `json:"plan"`
	// Installed has the requested packages as they are installed now; nil if nothing was to be installed: with
	// `--dry-run`, or if the installer cannot be run.
	Installed []Installed `json:"installed"`
	// WaitedSeconds is the time spent waiting for another package manager.
	WaitedSeconds int `json:"waited-seconds"`
}

// Plan has the actions of an installer.
type Plan struct {
	// Installer is `apt`, `dnf`, `tdnf` and so on.
	Installer string `json:"installer"`
	// Exercised is true if kata-osinfo runs this installer.
	Exercised bool `json:"exercised"`
	// Place where it runs: `here`, `inside`, `outside` or `nowhere`.
	Place string `json:"place"`
	// Packages that were requested.
	Packages []string `json:"packages"`
	// Already lists those that were installed before.
	Already []Installed `json:"already"`
	// Enables lists repositories and modules that are enabled first.
	Enables []string `json:"enables"`
	// Commands in order; empty if nothing is to be done.
	Commands [][]string `json:"commands"`
	// Shell has the commands, quoted for a shell.
	Shell []string `json:"shell"`
	// Guarded is true if the commands run in a sandbox, whose paths they contain; only kata-osinfo creates it.
	Guarded bool `json:"guarded"`
	// Changes of all packages, with dependencies; nil if no simulation was possible.
	Changes []Change `json:"changes"`
}

// Change is a package that an installer would change.
type Change struct {
	// Action is `install`, `upgrade` or `remove`.
	Action string `json:"action"`
	// Package is the package's name.
	Package string `json:"package"`
	// Version is the new version, or the removed one.
	Version string `json:"version"`
}
