package osinfo

// Requirements is the answer of `requirements`: what Kata demands of a distro's package.
type Requirements struct {
	Document
	// Profile is the range of Kata versions: `go-3.32`.
	Profile string `json:"profile"`
	// Range has the Kata versions of the profile.
	Range string `json:"range"`
	// Component is `qemu`, `virtiofsd`, `kernel` and so on.
	Component string `json:"component"`
	// Requirements on the component, those of Kata's default path first.
	Requirements []Requirement `json:"requirements"`
	// KernelOptions are the options of Kata's own guest kernel; nil if the component is not a kernel.
	KernelOptions *KernelOptions `json:"kernel-options"`
}

// Requirement is one demand.
type Requirement struct {
	// Serves is a capability: `vmm.boot`; `-` if the demand is of no single one.
	Serves string `json:"serves"`
	// Kind is `device`, `option`, `module`, `version` and so on.
	Kind string `json:"kind"`
	// What is demanded: `vhost-user-fs-pci`.
	What string `json:"what"`
	// Binding is false if the demand only informs.
	Binding bool `json:"binding"`
	// Why is the reason, if What does not say it.
	Why string `json:"why"`
	// Source is Kata's file and tag.
	Source string `json:"source"`
}

// KernelOptions are the options of Kata's own guest kernel, compared with the configuration that `--check` names.
type KernelOptions struct {
	// Tag is the release of Kata whose kernel has the options.
	Tag string `json:"tag"`
	// Arch is Kata's name of the architecture.
	Arch string `json:"arch"`
	// Linux is the version of the configuration, `6.12`, or empty without one.
	Linux string `json:"linux"`
	// Uses of the options.
	Uses []KernelUse `json:"uses"`
}

// KernelUse is the purpose of some options.
type KernelUse struct {
	// Name is one word: `namespaces`.
	Name string `json:"name"`
	// Weight is `required` if Kata does not run without the options, `wanted` or `incidental`.
	Weight string `json:"weight"`
	// Serves is a capability, `kernel.guest`, or empty.
	Serves string `json:"serves"`
	// BuiltIn is true if a module is not enough.
	BuiltIn bool `json:"built-in"`
	// Without says what does not work without one of the options.
	Without string `json:"without"`
	// Missing is true if one of the options is missing; nil without a configuration.
	Missing *bool `json:"missing"`
	// Modules that the initrd has to contain.
	Modules []string `json:"modules"`
	// Options of the kernel.
	Options []KernelOption `json:"options"`
}

// KernelOption is one option of a kernel.
type KernelOption struct {
	// Name is `CONFIG_VIRTIO_FS`.
	Name string `json:"name"`
	// Wanted is `y`, or another value.
	Wanted string `json:"wanted"`
	// When is the kind of kernel that Kata builds with the option, `measured-rootfs`, or empty if it is every kernel.
	When string `json:"when"`
	// Source is Kata's file and tag.
	Source string `json:"source"`
	// State is `met`, `module`, `only-module`, `off`, `absent`, `other-value` or `not-in-this-kernel`; empty without a
	// configuration.
	State string `json:"state"`
	// Found is the state in words.
	Found string `json:"found"`
}
