package osinfo

// Way is the answer of `fallback`, and that of `configure` where it does not get as far: what to do next.
type Way struct {
	Document
	// Outcome is `configure`, `install`, `describe`, `unsupported` or `build`; of `configure` also `assumed`.
	Outcome string `json:"outcome"`
	// Release that it is about.
	Release Release `json:"release"`
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// Configuration of the outcome `configure`.
	Configuration *Configuration `json:"configuration"`
	// Missing of the outcome `install`.
	Missing *Missing `json:"missing"`
	// Component of the outcome `describe`: the distro does not package it.
	Component string `json:"component"`
	// Record of the outcome `describe`, to be completed and put into /etc/kata-osinfo.
	Record string `json:"record"`
	// Capability of the outcome `unsupported`.
	Capability string `json:"capability"`
	// Why of the outcome `unsupported`: each independent cause.
	Why []string `json:"why"`
	// Instead of the outcome `unsupported`: what to do.
	Instead string `json:"instead"`
	// PassedOver of the outcome `build`: shared filesystems that do not work.
	PassedOver []PassedOver `json:"passed-over"`
	// Choices of the outcome `build`: what takes less than one, the best first.
	Choices []Choice `json:"choices"`
	// Instructions of the outcome `build`.
	Instructions []Instructions `json:"instructions"`
	// Facts of the outcome `assumed`, which nobody has checked.
	Facts []string `json:"facts"`
}

// Configuration is Kata's for a machine.
type Configuration struct {
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// Runtime is `go` or `rs`.
	Runtime string `json:"runtime"`
	// Kata is its version.
	Kata string `json:"kata"`
	// Hypervisor is QEMU's path.
	Hypervisor string `json:"hypervisor"`
	// Machine is QEMU's machine type.
	Machine string `json:"machine"`
	// Share is the shared filesystem.
	Share Share `json:"share"`
	// Cache of virtio-fs.
	Cache string `json:"cache"`
	// ExtraArgs of virtio-fs's daemon.
	ExtraArgs []string `json:"extra-args"`
	// BlockAIO where Kata's default does not work: `threads`.
	BlockAIO string `json:"block-aio"`
	// Boot is what guests boot.
	Boot Boot `json:"boot"`
	// ImageAsDisk says that Kata's image must be a disk.
	ImageAsDisk bool `json:"image-as-disk"`
	// UnprovenImage says that guests boot Kata's image, and no run proved that they can.
	UnprovenImage bool `json:"unproven-image"`
	// InDoubt says that something is in doubt of what guests boot, or of what is plugged into them.
	InDoubt bool `json:"in-doubt"`
	// Emulated says that deadlines are stretched.
	Emulated bool `json:"emulated"`
	// Production says whether it is fit for that.
	Production bool `json:"production"`
	// Notes of what a reader should know.
	Notes []Note `json:"notes"`
	// PassedOver are filesystems that were preferred and do not work.
	PassedOver []PassedOver `json:"passed-over"`
}

// Share is a shared filesystem.
type Share struct {
	// Name is `virtio-fs`, `virtio-9p` or `none`.
	Name string `json:"name"`
	// Daemon is the path of virtio-fs's.
	Daemon string `json:"daemon"`
}

// Boot is what guests boot.
type Boot struct {
	// What is `initrd`, or `kata`: what Kata's configuration says.
	What string `json:"what"`
	// Kernel of `initrd`.
	Kernel string `json:"kernel"`
	// Initrd of `initrd`.
	Initrd string `json:"initrd"`
}

// Note is one thing to know.
type Note struct {
	// About is a key of Kata's.
	About string `json:"about"`
	// Text for people.
	Text string `json:"text"`
}

// PassedOver is a filesystem that cannot be used.
type PassedOver struct {
	// Name is `virtio-fs`.
	Name string `json:"name"`
	// Why: each independent reason.
	Why []string `json:"why"`
	// Install are the packages that would bring it, where only they are missing.
	Install []string `json:"install"`
	// Forceable is what `--force` can choose all the same, or nil.
	Forceable *Share `json:"forceable"`
}

// Missing is what is not on the machine and can be.
type Missing struct {
	// Component is `qemu`, `virtio-fs`.
	Component string `json:"component"`
	// Why says what exactly is missing.
	Why string `json:"why"`
	// Packages that bring it.
	Packages []string `json:"packages"`
}

// Choice is a way that does without a build.
type Choice struct {
	// What is `katas-virtiofsd` or `no-shared-fs`.
	What string `json:"what"`
	// Text says what to do, and what it costs.
	Text string `json:"text"`
	// Record for /etc/kata-osinfo, or empty.
	Record string `json:"record"`
}

// Instructions say how to build a component and make it known.
type Instructions struct {
	// Component is `qemu` or `virtiofsd`.
	Component string `json:"component"`
	// Version that is built.
	Version string `json:"version"`
	// Source is where Kata names that version.
	Source string `json:"source"`
	// Dependencies are packages that the build needs.
	Dependencies []string `json:"dependencies"`
	// Commands in order, for a POSIX shell, as root.
	Commands []string `json:"commands"`
	// Record for /etc/kata-osinfo.
	Record string `json:"record"`
	// RecordPath is where it goes.
	RecordPath string `json:"record-path"`
	// Exercised is what was seen when these commands were run on this release; empty where they were not.
	Exercised string `json:"exercised"`
	// Notes of what to know before.
	Notes []string `json:"notes"`
}

// Configure is the answer of `configure`. Where [Way.Outcome] is not `configure` nothing was written, and the rest is
// empty.
type Configure struct {
	Way
	// Arch is Kata's name of the architecture.
	Arch string `json:"arch"`
	// KataConfig is the file that Kata reads.
	KataConfig KataConfig `json:"kata-config"`
	// Warnings for people.
	Warnings []string `json:"warnings"`
	// Theirs are values of others.
	Theirs []ForeignValue `json:"theirs"`
	// Settings that are written.
	Settings []Setting `json:"settings"`
	// Files that are written.
	Files []string `json:"files"`
	// TakenBack are files that are written no more.
	TakenBack []string `json:"taken-back"`
	// Written says whether anything was, which `--dry-run` does not.
	Written bool `json:"written"`
	// Diff of all files, without what may be secret.
	Diff string `json:"diff"`
	// NotEffective are keys that do not have the value that they were to have.
	NotEffective []NotEffective `json:"not-effective"`
}

// KataConfig is the file that Kata reads.
type KataConfig struct {
	// Path of it.
	Path string `json:"path"`
	// CopiedFrom is Kata's own, where Kata is to read a copy.
	CopiedFrom string `json:"copied-from"`
	// NamedBy says who names it.
	NamedBy string `json:"named-by"`
	// Others that another build of the runtime would read instead.
	Others []string `json:"others"`
	// Siblings have the same drop-ins.
	Siblings []Sibling `json:"siblings"`
}

// Sibling is a configuration beside another one.
type Sibling struct {
	// Path of it.
	Path string `json:"path"`
	// Alike says that it is for ordinary guests of QEMU, too.
	Alike bool `json:"alike"`
}

// ForeignValue is one that somebody else has set.
type ForeignValue struct {
	// Key is `hypervisor.qemu.path`.
	Key string `json:"key"`
	// File that sets it.
	File string `json:"file"`
	// Line in it, from 1, or 0.
	Line int `json:"line"`
	// Fate is `overridden`, `extended` or `kept`.
	Fate string `json:"fate"`
	// Was is theirs.
	Was any `json:"was"`
	// Ours is what it is to be; what it would be where theirs is kept, nil where ours has no such key.
	Ours any `json:"ours"`
}

// Setting is one key of Kata's configuration.
type Setting struct {
	// Table is where it stands: `hypervisor`, `qemu`.
	Table []string `json:"table"`
	// Key is `virtio_fs_daemon`.
	Key string `json:"key"`
	// Value is a text, a number, a boolean or a list of texts.
	Value any `json:"value"`
	// Why it has that value.
	Why string `json:"why"`
}

// NotEffective is a key that does not have the value that it was to have.
type NotEffective struct {
	// Key is `hypervisor.qemu.path`.
	Key string `json:"key"`
	// Wanted is what it was to be.
	Wanted any `json:"wanted"`
	// Found is what it is; nil where it is set nowhere.
	Found any `json:"found"`
	// File that sets it, or empty.
	File string `json:"file"`
	// Line in it, from 1, or 0.
	Line int `json:"line"`
}

// Unconfigure is the answer of `unconfigure`.
type Unconfigure struct {
	Document
	// Outcome is `unconfigure`.
	Outcome string `json:"outcome"`
	// Written says whether anything was, which `--dry-run` does not.
	Written bool `json:"written"`
	// Files that are as they were.
	Files []string `json:"files"`
	// Kept is what is still there.
	Kept []Kept `json:"kept"`
	// Diff of all files, without what may be secret.
	Diff string `json:"diff"`
}

// Kept is something that was not taken back.
type Kept struct {
	// Path of the file.
	Path string `json:"path"`
	// Why it stays.
	Why string `json:"why"`
}
