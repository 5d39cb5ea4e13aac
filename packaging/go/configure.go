package osinfo

// Way is the answer of `fallback`, and of `configure` if something must be done first: the next steps.
type Way struct {
	Document
	// Outcome is `configure`, `install`, `describe`, `unsupported` or `build`; with `configure` also `assumed`.
	Outcome string `json:"outcome"`
	// Release of the system.
	Release Release `json:"release"`
	// Borrowed names a relative's release that is used in place of the system's own, or is empty.
	Borrowed string `json:"borrowed"`
	// Derivative is set if the system is a derivative whose os-release is that of its base distro.
	Derivative *Derivative `json:"derivative"`
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// PartsFrom says where the parts of the system come from that no package provides, or is empty.
	PartsFrom string `json:"parts-from"`
	// Configuration, for the outcome `configure`.
	Configuration *Configuration `json:"configuration"`
	// Missing component, for the outcome `install`.
	Missing *Missing `json:"missing"`
	// Component that the distro does not package, for the outcome `describe`.
	Component string `json:"component"`
	// Record to complete and put into /etc/kata-osinfo, for the outcome `describe`.
	Record string `json:"record"`
	// Capability that is not supported, for the outcome `unsupported`.
	Capability string `json:"capability"`
	// Why it is not supported, for the outcome `unsupported`: all independent causes.
	Why []string `json:"why"`
	// Instead is the advice for the outcome `unsupported`.
	Instead string `json:"instead"`
	// PassedOver lists shared filesystems that do not work, for the outcome `build`.
	PassedOver []PassedOver `json:"passed-over"`
	// Choices are alternatives without a build, the best first, for the outcome `build`.
	Choices []Choice `json:"choices"`
	// Instructions for the outcome `build`.
	Instructions []Instructions `json:"instructions"`
	// Facts that nobody has checked, for the outcome `assumed`.
	Facts []string `json:"facts"`
}

// Configuration is a configuration of Kata for a machine.
type Configuration struct {
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// Runtime is `go` or `rs`.
	Runtime string `json:"runtime"`
	// Kata is the version of Kata.
	Kata string `json:"kata"`
	// Hypervisor is QEMU's path.
	Hypervisor string `json:"hypervisor"`
	// Machine is QEMU's machine type.
	Machine string `json:"machine"`
	// Share is the shared filesystem.
	Share Share `json:"share"`
	// Cache mode of virtio-fs.
	Cache string `json:"cache"`
	// ExtraArgs are further arguments of virtiofsd.
	ExtraArgs []string `json:"extra-args"`
	// BlockAIO is set if Kata's default does not work: `threads`.
	BlockAIO string `json:"block-aio"`
	// Boot is the kernel and the image or initrd of guests.
	Boot Boot `json:"boot"`
	// ImageAsDisk is true if guests must get Kata's image as a disk.
	ImageAsDisk bool `json:"image-as-disk"`
	// UnprovenImage is true if guests boot Kata's image and no run proved that this works.
	UnprovenImage bool `json:"unproven-image"`
	// InDoubt is true if the guest's kernel or initrd is in doubt, or hotplug that is known not to work is forced.
	InDoubt bool `json:"in-doubt"`
	// Emulated is true if deadlines are extended, because guests are emulated.
	Emulated bool `json:"emulated"`
	// Production is true if the configuration is fit for production: nothing is forced or in doubt.
	Production bool `json:"production"`
	// Notes for the reader.
	Notes []Note `json:"notes"`
	// PassedOver lists preferred shared filesystems that do not work.
	PassedOver []PassedOver `json:"passed-over"`
}

// Share is a shared filesystem.
type Share struct {
	// Name is `virtio-fs`, `virtio-9p` or `none`.
	Name string `json:"name"`
	// Daemon is the path of virtiofsd.
	Daemon string `json:"daemon"`
}

// Boot is the kernel and initrd of guests.
type Boot struct {
	// What is `initrd`, or `kata` for the kernel and image in Kata's configuration.
	What string `json:"what"`
	// Kernel is the path of the kernel, if What is `initrd`.
	Kernel string `json:"kernel"`
	// Initrd is the path of the initrd, if What is `initrd`.
	Initrd string `json:"initrd"`
}

// Note is a remark about one setting.
type Note struct {
	// About is a key of Kata's configuration.
	About string `json:"about"`
	// Text for people.
	Text string `json:"text"`
}

// PassedOver is a shared filesystem that cannot be used.
type PassedOver struct {
	// Name is `virtio-fs`.
	Name string `json:"name"`
	// Why lists all independent reasons.
	Why []string `json:"why"`
	// Install lists packages that would provide the filesystem, if only they are missing.
	Install []string `json:"install"`
	// Forceable is the share that `--force` can still choose, or nil.
	Forceable *Share `json:"forceable"`
}

// Missing is a component that is not installed and can be.
type Missing struct {
	// Component is `qemu`, `virtio-fs`.
	Component string `json:"component"`
	// Why names exactly what is missing.
	Why string `json:"why"`
	// Packages that provide the component.
	Packages []string `json:"packages"`
}

// Choice is an alternative without a build.
type Choice struct {
	// What is `katas-virtiofsd` or `no-shared-fs`.
	What string `json:"what"`
	// Text describes the steps and their cost.
	Text string `json:"text"`
	// Record for /etc/kata-osinfo, or empty.
	Record string `json:"record"`
}

// Instructions describe how to build a component and add a record of it.
type Instructions struct {
	// Component is `qemu` or `virtiofsd`.
	Component string `json:"component"`
	// Version of the component.
	Version string `json:"version"`
	// Source is the place in Kata's source that names the version.
	Source string `json:"source"`
	// Dependencies are packages that the build needs.
	Dependencies []string `json:"dependencies"`
	// Commands in order, for a POSIX shell, as root.
	Commands []string `json:"commands"`
	// Record for /etc/kata-osinfo.
	Record string `json:"record"`
	// RecordPath is the path for that record.
	RecordPath string `json:"record-path"`
	// Exercised is the result of these commands on this release; empty if they were never run there.
	Exercised string `json:"exercised"`
	// Notes to read before the build.
	Notes []string `json:"notes"`
}

// Configure is the answer of `configure`. If [Way.Outcome] is not `configure`, nothing was written, and the other
// fields are empty.
type Configure struct {
	Way
	// Arch is Kata's name of the architecture.
	Arch string `json:"arch"`
	// KataConfig is the file that Kata reads.
	KataConfig KataConfig `json:"kata-config"`
	// Warnings for people.
	Warnings []string `json:"warnings"`
	// Theirs lists values that other tools or the admin have set.
	Theirs []ForeignValue `json:"theirs"`
	// Settings that were written, or would be.
	Settings []Setting `json:"settings"`
	// Files that were written, or would be.
	Files []string `json:"files"`
	// TakenBack lists files that are no longer written.
	TakenBack []string `json:"taken-back"`
	// Written is true if anything was written; `--dry-run` writes nothing.
	Written bool `json:"written"`
	// Diff of all files, without text that may be secret.
	Diff string `json:"diff"`
	// NotEffective lists keys that do not have their intended value.
	NotEffective []NotEffective `json:"not-effective"`
}

// KataConfig is the file that Kata reads.
type KataConfig struct {
	// Path of the file.
	Path string `json:"path"`
	// CopiedFrom is Kata's own file, if Kata reads a copy.
	CopiedFrom string `json:"copied-from"`
	// NamedBy tells what names the file.
	NamedBy string `json:"named-by"`
	// Others are files that another build of the runtime would read instead.
	Others []string `json:"others"`
	// Siblings are other configurations with the same drop-ins.
	Siblings []Sibling `json:"siblings"`
}

// Sibling is a configuration in the same directory as another one, with which it shares its drop-ins.
type Sibling struct {
	// Path of the configuration.
	Path string `json:"path"`
	// Alike is true if it is for ordinary guests of QEMU, too.
	Alike bool `json:"alike"`
}

// ForeignValue is a value that another tool or the admin has set.
type ForeignValue struct {
	// Key is `hypervisor.qemu.path`.
	Key string `json:"key"`
	// File that sets it.
	File string `json:"file"`
	// Line in the file, from 1, or 0.
	Line int `json:"line"`
	// Fate is `overridden`, `extended` or `kept`.
	Fate string `json:"fate"`
	// Was is the foreign value.
	Was any `json:"was"`
	// Ours is kata-osinfo's value, even if the foreign value is kept; nil if kata-osinfo has no such key.
	Ours any `json:"ours"`
}

// Setting is one key of Kata's configuration.
type Setting struct {
	// Table that has the key: `hypervisor`, `qemu`.
	Table []string `json:"table"`
	// Key is `virtio_fs_daemon`.
	Key string `json:"key"`
	// Value is a string, a number, a boolean or a list of strings.
	Value any `json:"value"`
	// Why is the reason for the value.
	Why string `json:"why"`
}

// NotEffective is a key that does not have its intended value.
type NotEffective struct {
	// Key is `hypervisor.qemu.path`.
	Key string `json:"key"`
	// Wanted is the intended value.
	Wanted any `json:"wanted"`
	// Found is the effective value; nil if the key is not set anywhere.
	Found any `json:"found"`
	// File that sets it, or empty.
	File string `json:"file"`
	// Line in the file, from 1, or 0.
	Line int `json:"line"`
}

// Unconfigure is the answer of `unconfigure`.
type Unconfigure struct {
	Document
	// Outcome is `unconfigure`.
	Outcome string `json:"outcome"`
	// Written is true if anything was written; `--dry-run` writes nothing.
	Written bool `json:"written"`
	// Files that were restored.
	Files []string `json:"files"`
	// Kept lists files that still have something of kata-osinfo's.
	Kept []Kept `json:"kept"`
	// Diff of all files, without text that may be secret.
	Diff string `json:"diff"`
}

// Kept is something that was not removed.
type Kept struct {
	// Path of the file.
	Path string `json:"path"`
	// Why is the reason for keeping it.
	Why string `json:"why"`
}
