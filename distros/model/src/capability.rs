// Over 400 lines: one table, a row a capability.
//! Capabilities, the columns of the matrix: the one table of them, for records, profiles, suites and reports.

use crate::component::Component;
use crate::share::Share;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Importance of a capability, and its place in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Kata does not run without the capability.
    Required,
    /// Like [`Tier::Required`], but `--strict` does not demand it in an environment that cannot show it.
    IfProvided,
    /// In the overview; Kata runs without the capability.
    Shown,
    /// In the table of details; Kata runs without the capability.
    Detail,
    /// Like [`Tier::Detail`], but only looked up in a list, QEMU's list of devices or objects: the verdict is `offered`
    /// at best, because nothing used the capability.
    Listed,
}

/// Subject of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The release's packages.
    Packages,
    /// The VMM.
    Vmm,
    /// The release's kernel, as guest or as host.
    Kernel,
    /// The release as Kata's host, apart from the VMM.
    Host,
    /// The guest's files on a share.
    Fs(Share),
    /// Containers without Kata, as the control.
    Containers,
    /// Containers and guests under Kata itself.
    Kata,
}

/// Generates the enum and its table from one row per capability: name, head of a narrow column, area, tier, meaning.
macro_rules! capabilities {
    ($($variant:ident {
        $name:literal, $short:expr, $area:ident $(($share:ident))?, $tier:ident, $meaning:literal
    })*) => {
        /// One column of the matrix: something that a distro can do for a Kata version.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Capability {
            $(#[doc = $meaning] $variant,)*
        }

        impl Capability {
            /// All capabilities, in the order of the matrix.
            pub const ALL: &'static [Capability] = &[$(Capability::$variant,)*];

            /// Returns the dotted name in records, reports and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Capability::$variant => $name,)* }
            }

            /// Returns the head of a narrow column.
            pub fn short(self) -> &'static str {
                match self { $(Capability::$variant => $short,)* }
            }

            /// Returns the subject of the capability.
            pub fn area(self) -> Area {
                match self { $(Capability::$variant => Area::$area $((Share::$share))?,)* }
            }

            /// Returns the importance of the capability.
            pub fn tier(self) -> Tier {
                match self { $(Capability::$variant => Tier::$tier,)* }
            }

            /// Returns the meaning in one sentence, for `explain`.
            pub fn meaning(self) -> &'static str {
                match self { $(Capability::$variant => $meaning,)* }
            }
        }
    };
}

capabilities! {
    PackagesInstall {
        "packages.install", "install", Packages, Required,
        "the native packages install and the record's paths and owners are true"
    }
    VmmBoot {
        "vmm.boot", "boot", Vmm, Required,
        "the distro's QEMU boots the distro's kernel with the profile's arguments"
    }
    VmmQmp {
        "vmm.qmp", "qmp", Vmm, Required,
        "QEMU's QMP replies are what the profile's runtime parses"
    }
    VmmVsock {
        "vmm.vsock", "vsock", Vmm, IfProvided,
        "host and guest talk over vhost-vsock, the channel to Kata's agent"
    }
    VmmNet {
        "vmm.net", "net", Vmm, IfProvided,
        "packets cross the guest's network interface on a tap, with vhost-net and without it"
    }
    VmmHotplugMemory {
        "vmm.hotplug.memory", "hot mem", Vmm, Required,
        "a running guest can use memory that is plugged into it"
    }
    VmmHotplugCpu {
        "vmm.hotplug.cpu", "hot cpu", Vmm, IfProvided,
        "a CPU that is plugged into a running guest works, and can be unplugged"
    }
    VmmHotplugBlk {
        "vmm.hotplug.blk", "hot blk", Vmm, Required,
        "a disk that is plugged into a running guest's SCSI controller, as Kata ships it, appears where Kata predicts \
         and holds data"
    }
    VmmHotplugNet {
        "vmm.hotplug.net", "hot net", Vmm, Required,
        "a network interface that is plugged into a running guest appears where Kata predicts and carries packets; its \
         other end is a socket, while vmm.hotplug.tap uses a tap"
    }
    VmmHotplugPciDisk {
        "vmm.hotplug.pci-disk", "hotplug.pci-disk", Vmm, Detail,
        "a disk that is plugged into a running guest's PCI bridge, as Kata can be configured to do, appears where Kata \
         predicts and holds data"
    }
    VmmHotplugRootPort {
        "vmm.hotplug.root-port", "hotplug.root-port", Vmm, Detail,
        "a device that is plugged into a PCIe root port works; Kata can be configured to plug VFIO devices there"
    }
    VmmHotplugSwitchPort {
        "vmm.hotplug.switch-port", "hotplug.switch-port", Vmm, Detail,
        "a device that is plugged into a PCIe switch works; Kata can be configured to plug VFIO devices there"
    }
    VmmHotplugTap {
        "vmm.hotplug.tap", "hotplug.tap", Vmm, Detail,
        "a tap that is passed to a running QEMU as a descriptor carries packets with vhost-net, and without it if the \
         runtime supports that"
    }
    VmmHotplugVhostUser {
        "vmm.hotplug.vhost-user", "hotplug.vhost-user", Vmm, Detail,
        "a disk that another process serves over vhost-user, as SPDK does, is plugged into a running guest, appears \
         where Kata predicts and holds data"
    }
    VmmHotplugMany {
        "vmm.hotplug.many", "hotplug.many", Vmm, Detail,
        "64 disks and 8 network interfaces are plugged into one running guest, and all of them work"
    }
    VmmHotplugReadOnly {
        "vmm.hotplug.read-only", "hotplug.read-only", Vmm, Detail,
        "a disk that is plugged read-only can be read and cannot be written"
    }
    VmmBlockOptions {
        "vmm.block-options", "block-options", Vmm, Detail,
        "a plugged disk has the requested queues and sector sizes, and what the guest discards is freed on the host"
    }
    VmmAioNative {
        "vmm.aio-native", "aio-native", Vmm, Detail,
        "QEMU reads and writes a plugged disk with the kernel's asynchronous I/O, bypassing the page cache"
    }
    VmmVmdk {
        "vmm.vmdk", "vmdk", Vmm, Detail,
        "several files form one disk through a VMDK descriptor"
    }
    VmmIoThread {
        "vmm.iothread", "iothread", Vmm, Detail,
        "a plugged disk is served by its own I/O thread, or by that of its controller"
    }
    VmmVirtioMem {
        "vmm.virtio-mem", "virtio-mem", Vmm, Detail,
        "a virtio-mem device enlarges and shrinks a running guest's memory"
    }
    VmmReclaim {
        "vmm.reclaim", "reclaim", Vmm, Detail,
        "memory that a guest has freed returns to the host through a balloon that reports free pages"
    }
    VmmHugepages {
        "vmm.hugepages", "hugepages", Vmm, Detail,
        "a guest's memory consists of the host's huge pages"
    }
    VmmPrealloc {
        "vmm.prealloc", "prealloc", Vmm, Detail,
        "all of a guest's memory is allocated at its start"
    }
    VmmNuma {
        "vmm.numa", "numa", Vmm, Detail,
        "a guest has several NUMA nodes, with their memory bound to nodes of the host"
    }
    VmmNumaDevice {
        "vmm.numa.device", "numa.device", Vmm, Detail,
        "a device behind a root bus of one of the guest's NUMA nodes belongs to that node"
    }
    VmmTemplate {
        "vmm.template", "template", Vmm, Detail,
        "guests are cloned from the saved state of another guest"
    }
    VmmDump {
        "vmm.dump", "dump", Vmm, Detail,
        "QEMU reports that a guest's kernel has panicked, and writes the guest's memory to a file"
    }
    VmmLegacySerial {
        "vmm.legacy-serial", "legacy-serial", Vmm, Detail,
        "a guest has a serial port instead of its console, and what it writes there reaches the host"
    }
    VmmMonitor {
        "vmm.monitor", "monitor", Vmm, Detail,
        "QEMU's human monitor answers"
    }
    VmmSandbox {
        "vmm.sandbox", "sandbox", Vmm, Detail,
        "QEMU works with its own system call filter"
    }
    VmmRootless {
        "vmm.rootless", "rootless", Vmm, Detail,
        "QEMU runs a guest as a user other than root, without capabilities"
    }
    VmmIommu {
        "vmm.iommu", "iommu", Vmm, Detail,
        "a guest has an Intel IOMMU, and works behind it"
    }
    VmmFirmware {
        "vmm.firmware", "firmware", Vmm, Detail,
        "a guest boots with the distro's UEFI firmware"
    }
    VmmMicrovm {
        "vmm.microvm", "microvm", Vmm, Detail,
        "a guest boots on QEMU's machine without PCI, microvm, and its virtio devices work there"
    }
    VmmLongArguments {
        "vmm.long-arguments", "long-arguments", Vmm, Detail,
        "QEMU takes a command line of more than 64 KiB"
    }
    VmmNetIp {
        "vmm.net.ip", "net.ip", Vmm, Detail,
        "IPv4 and IPv6 cross a guest's network interface, which is on a tap, or on a socket if there are no taps"
    }
    VmmNetLink {
        "vmm.net.link", "net.link", Vmm, Detail,
        "a guest's network interface has the requested hardware address, and carries frames of the sizes of networks \
         with a smaller and with a larger MTU"
    }
    VmmNetQueues {
        "vmm.net.queues", "net.queues", Vmm, Detail,
        "a guest's network interface has a queue for each CPU of the guest, and carries packets"
    }
    VmmImageNvdimm {
        "vmm.image.nvdimm", "image.nvdimm", Vmm, Shown,
        "QEMU gives a guest Kata's image as an NVDIMM, and the guest reads the root filesystem in it with DAX; Kata \
         uses its own kernel for such guests, because a distro's kernel has no drivers without an initrd"
    }
    VmmImageBlk {
        "vmm.image.blk", "image.blk", Vmm, Shown,
        "QEMU gives a guest Kata's image as a virtio-blk disk, and the guest reads the root filesystem in it; Kata \
         uses its own kernel for such guests, because a distro's kernel has no drivers without an initrd"
    }
    VmmCloudHypervisor {
        "vmm.cloud-hypervisor", "cloud-hypervisor", Vmm, Detail,
        "Cloud Hypervisor, controlled over its API as by Kata, boots the distro's kernel as an ELF file, and the \
         guest's disk, vsock and virtio-fs work"
    }
    VmmFirecracker {
        "vmm.firecracker", "firecracker", Vmm, Detail,
        "Firecracker, configured as by Kata, boots the distro's kernel as an ELF file, and the guest's disk and vsock \
         work"
    }
    VmmVhostUserBlk {
        "vmm.vhost-user-blk", "vhost-user-blk", Vmm, Listed,
        "QEMU offers vhost-user-blk (SPDK volumes)"
    }
    VmmVfio {
        "vmm.vfio", "vfio", Vmm, Listed,
        "QEMU offers vfio-pci (device pass-through)"
    }
    VmmBuildGate {
        "vmm.build-gate", "build-gate", Vmm, Listed,
        "QEMU offers the devices that Kata's own build of it requires and that only some settings use"
    }
    VmmAmdIommu {
        "vmm.amd-iommu", "amd-iommu", Vmm, Listed,
        "QEMU offers amd-iommu"
    }
    VmmTdx {
        "vmm.tdx", "tdx", Vmm, Listed,
        "QEMU offers Intel TDX guests"
    }
    VmmSevSnp {
        "vmm.sev-snp", "sev-snp", Vmm, Listed,
        "QEMU offers AMD SEV-SNP guests"
    }
    KernelGuest {
        "kernel.guest", "kernel", Kernel, Required,
        "the distro's kernel works as Kata's guest kernel"
    }
    KernelGuestNet {
        "kernel.guest.net", "k net", Kernel, Detail,
        "containers in a guest can filter, forward, bridge and tunnel: nftables, veth, bridge, tun, vxlan, macvlan"
    }
    KernelGuestDisk {
        "kernel.guest.disk", "k disk", Kernel, Detail,
        "containers in a guest can use files as disks, with XFS and EROFS, and limits on reading and writing them hold"
    }
    KernelGuestMemory {
        "kernel.guest.memory", "k memory", Kernel, Detail,
        "the guest's kernel has what Kata's settings need for memory: volumes of huge pages, reports of pressure \
         (PSI), generations of pages (LRU_GEN)"
    }
    KernelGuestSwap {
        "kernel.guest.swap", "k swap", Kernel, Detail,
        "the guest's kernel swaps to a disk that Kata has plugged, if it is configured to (enable_guest_swap)"
    }
    KernelGuestDevices {
        "kernel.guest.devices", "k devices", Kernel, Detail,
        "rules about which devices a container's processes in a guest may open and create take effect (cgroup v2, eBPF)"
    }
    KernelVerity {
        "kernel.verity", "verity", Kernel, Detail,
        "the distro's kernel reads an image whose hashes are right, and refuses a block that was changed (dm-verity)"
    }
    KernelPmem {
        "kernel.pmem", "pmem", Kernel, Detail,
        "the distro's kernel mounts an image in persistent memory by DAX (nd_pmem, FS_DAX)"
    }
    KernelHost {
        "kernel.host", "host", Kernel, Shown,
        "the distro's kernel works as Kata's host kernel"
    }
    KernelClock {
        "kernel.clock", "clock", Kernel, Detail,
        "the distro's kernel as a guest can read its host's clock, also after a pause"
    }
    HostKvm {
        "host.kvm", "kvm", Host, Detail,
        "KVM runs a vCPU on the release's kernel"
    }
    HostVhost {
        "host.vhost", "vhost", Host, Detail,
        "the release's kernel provides vhost-vsock and vhost-net for Kata"
    }
    HostNetwork {
        "host.network", "h net", Host, Detail,
        "the release's kernel connects a pod's interface to a tap (tun, ingress, u32, mirred), and packets cross it"
    }
    HostRate {
        "host.rate", "rate", Host, Detail,
        "the release's kernel limits the rate of packets to a pod's tap (HTB)"
    }
    HostNetworkModels {
        "host.network.models", "h models", Host, Detail,
        "the release's kernel supports other interfaces and network models for pods than the usual ones: macvlan, \
         ipvlan, macvtap"
    }
    HostCgroups {
        "host.cgroups", "cgroups", Host, Detail,
        "the host's cgroups have the controllers that Kata needs for sandboxes, and limits on processes, memory and \
         CPUs hold in them"
    }
    HostMemory {
        "host.memory", "shm", Host, Detail,
        "a guest's memory, which virtio-fs shares, fits into /dev/shm"
    }
    HostIoUring {
        "host.io-uring", "io_uring", Host, Detail,
        "the release's QEMU reads disks with io_uring on the release's kernel"
    }
    HostContainerd {
        "host.containerd", "containerd", Host, Detail,
        "the release's containerd is present and runs"
    }
    HostCheck {
        "host.check", "check", Host, Detail,
        "the host meets the requirements of `kata-runtime check` and `kata-ctl check`"
    }
    FsVirtioFs {
        "fs.virtio-fs", Share::VirtioFs.name(), Fs(VirtioFs), Required,
        "virtio-fs works the way the profile uses it"
    }
    FsVirtioFsXattr {
        "fs.virtio-fs.xattr", "vfs xattr", Fs(VirtioFs), Detail,
        "extended attributes work over virtio-fs with --xattr"
    }
    FsVirtioFsAcl {
        "fs.virtio-fs.acl", "vfs acl", Fs(VirtioFs), Detail,
        "POSIX ACLs work over virtio-fs with --posix-acl"
    }
    FsVirtioFsHandles {
        "fs.virtio-fs.handles", "vfs handles", Fs(VirtioFs), Detail,
        "virtiofsd holds no descriptor for a file that the guest only knows, because it opens files by their handles"
    }
    FsVirtioFsXattrMap {
        "fs.virtio-fs.xattr-map", "vfs xattr map", Fs(VirtioFs), Detail,
        "virtiofsd stores the guest's extended attributes under a prefix, as --xattrmap says"
    }
    FsVirtioFsCache {
        "fs.virtio-fs.cache", "vfs cache", Fs(VirtioFs), Detail,
        "virtio-fs works with the other values of Kata's virtio_fs_cache: never, metadata and always"
    }
    FsVirtioFsSandbox {
        "fs.virtio-fs.sandbox", "vfs sandbox", Fs(VirtioFs), Detail,
        "virtio-fs works, and no guest escapes from its share, with a virtiofsd that does not confine itself \
         (--sandbox=none)"
    }
    FsVirtioFsThreads {
        "fs.virtio-fs.threads", "vfs threads", Fs(VirtioFs), Detail,
        "virtio-fs works with a virtiofsd that serves requests with several threads"
    }
    FsVirtioFsEnd {
        "fs.virtio-fs.end", "vfs end", Fs(VirtioFs), Detail,
        "a virtiofsd that runs out of descriptors reports it, and one that ends takes neither guest nor data with it"
    }
    FsVirtioFsWriteBack {
        "fs.virtio-fs.write-back", "vfs write-back", Fs(VirtioFs), Detail,
        "a guest keeps what it writes over virtio-fs until it syncs, and what it has synced is on the host \
         (--writeback)"
    }
    FsVirtioFsUncachedMaps {
        "fs.virtio-fs.uncached-maps", "vfs uncached maps", Fs(VirtioFs), Detail,
        "files of which a guest caches nothing can be mapped shared and writable over virtio-fs (--cache=never with \
         --allow-mmap)"
    }
    FsVirtioFsIds {
        "fs.virtio-fs.ids", "vfs ids", Fs(VirtioFs), Detail,
        "virtiofsd translates users and groups between guest and host, as --translate-uid and --translate-gid say"
    }
    FsVirtioFsRelativeSocket {
        "fs.virtio-fs.relative-socket", "vfs relative socket", Fs(VirtioFs), Detail,
        "virtio-fs works with a virtiofsd whose socket has a relative path, as runtime-rs uses for a VMM without root"
    }
    FsVirtioFsOverlay {
        "fs.virtio-fs.overlay", "vfs overlay", Fs(VirtioFs), Detail,
        "a guest stacks a layer of its own on one that is on virtio-fs (overlayfs)"
    }
    FsVirtioFsIntegrity {
        "fs.virtio-fs.integrity", "vfs integrity", Fs(VirtioFs), Detail,
        "random operations over virtio-fs show no wrong byte (fsx), and synced data survives the killing of the VMM"
    }
    FsVirtioFsPosix {
        "fs.virtio-fs.posix", "vfs posix", Fs(VirtioFs), Detail,
        "pjdfstest finds no difference between virtio-fs and the native filesystem"
    }
    FsVirtio9p {
        "fs.virtio-9p", "9p", Fs(Virtio9p), Required,
        "9p works the way the profile uses it"
    }
    FsVirtio9pXattr {
        "fs.virtio-9p.xattr", "9p xattr", Fs(Virtio9p), Detail,
        "extended attributes work over 9p"
    }
    FsVirtio9pIntegrity {
        "fs.virtio-9p.integrity", "9p integrity", Fs(Virtio9p), Detail,
        "random operations over 9p show no wrong byte (fsx), and synced data survives the killing of the VMM"
    }
    FsVirtio9pPosix {
        "fs.virtio-9p.posix", "9p posix", Fs(Virtio9p), Detail,
        "pjdfstest finds no difference between 9p and the native filesystem"
    }
    FsVirtioBlk {
        "fs.virtio-blk", "blk", Fs(VirtioBlk), Required,
        "a virtio block device with ext4 works"
    }
    FsVirtioBlkIntegrity {
        "fs.virtio-blk.integrity", "blk integrity", Fs(VirtioBlk), Detail,
        "random operations on the block device show no wrong byte (fsx), and synced data survives the killing of the \
         VMM"
    }
    FsVirtioBlkPosix {
        "fs.virtio-blk.posix", "blk posix", Fs(VirtioBlk), Detail,
        "pjdfstest finds no difference between the block device and the native filesystem"
    }
    ContainersRunc {
        "containers.runc", "runc", Containers, Shown,
        "containers run under the distro's containerd and runc, as the control for Kata"
    }
    ContainersCri {
        "containers.cri", "cri", Containers, Detail,
        "pods run through CRI, as Kubernetes runs them, under the distro's containerd and runc, as the control for Kata"
    }
    ContainersBlock {
        "containers.block", "block", Containers, Detail,
        "containers can use disks of the host under the distro's containerd and runc, as the control for Kata"
    }
    ContainersHugePages {
        "containers.huge-pages", "huge pages", Containers, Detail,
        "containers can use volumes of huge pages under the distro's containerd and runc, as the control for Kata"
    }
    ContainersDevmapper {
        "containers.devmapper", "devmapper", Containers, Detail,
        "root filesystems from containerd's devmapper snapshotter work under runc, as the control for Kata"
    }
    ContainersBlockfile {
        "containers.blockfile", "blockfile", Containers, Detail,
        "root filesystems from containerd's blockfile snapshotter work under runc, as the control for Kata"
    }
    ContainersErofs {
        "containers.erofs", "erofs", Containers, Detail,
        "root filesystems from containerd's EROFS snapshotter work under runc, as the control for Kata"
    }
    ContainersDocker {
        "containers.docker", "docker", Containers, Detail,
        "Docker's engine runs containers under the distro's containerd and runc, as the control for Kata"
    }
    KataSmoke {
        "kata.smoke", "kata", Kata, Shown,
        "containers run under Kata itself"
    }
    KataFs {
        "kata.fs", "kata fs", Kata, Shown,
        "containers share files with the host under Kata itself"
    }
    KataLimits {
        "kata.limits", "kata limits", Kata, Shown,
        "limits on processes, memory and CPU time hold under Kata itself"
    }
    KataNet {
        "kata.net", "kata net", Kata, Shown,
        "containers have a network under Kata itself"
    }
    KataControl {
        "kata.control", "kata control", Kata, Detail,
        "containers under Kata itself can be paused, resumed and started again, run in several sandboxes at once, \
         share their processes on request, have the requested process limits and sysctls, and their usage is reported"
    }
    KataBlock {
        "kata.block", "kata block", Kata, Detail,
        "containers under Kata itself can use disks of the host as volumes, which are disks of their guest"
    }
    KataHugePages {
        "kata.huge-pages", "kata huge pages", Kata, Detail,
        "containers under Kata itself can use volumes of huge pages, which are in their guest's memory"
    }
    KataDevmapper {
        "kata.devmapper", "kata devmapper", Kata, Detail,
        "root filesystems from containerd's devmapper snapshotter are disks of the guest under Kata itself"
    }
    KataBlockfile {
        "kata.blockfile", "kata blockfile", Kata, Detail,
        "root filesystems from containerd's blockfile snapshotter are disks of the guest under Kata itself"
    }
    KataErofs {
        "kata.erofs", "kata erofs", Kata, Detail,
        "root filesystems from containerd's EROFS snapshotter are stacked in the guest under Kata itself"
    }
    KataHelpers {
        "kata.helpers", "kata helpers", Kata, Detail,
        "a container under Kata itself ends and leaves nothing behind if its virtiofsd or its shim is killed"
    }
    KataCheck {
        "kata.check", "kata check", Kata, Detail,
        "`kata-runtime check` or `kata-ctl check` itself accepts the host"
    }
    KataInitrd {
        "kata.initrd", "kata initrd", Kata, Detail,
        "the distro's own initramfs tool makes an initrd that Kata's guests boot"
    }
    KataKernel {
        "kata.kernel", "kata kernel", Kata, Detail,
        "Kata's own guest kernel boots under the distro's VMM"
    }
    KataImage {
        "kata.image", "kata image", Kata, Detail,
        "Kata's own guest kernel boots from Kata's own image under the distro's VMM"
    }
    KataDocker {
        "kata.docker", "kata docker", Kata, Detail,
        "Docker's engine runs containers under Kata itself"
    }
    KataCri {
        "kata.cri", "kata cri", Kata, Detail,
        "pods run through CRI, as Kubernetes runs them, under Kata itself"
    }
    KataCriStreaming {
        "kata.cri.streaming", "kata cri streaming", Kata, Detail,
        "the streams and logs of a pod's processes arrive through CRI under Kata itself: exec, attach"
    }
    KataCriResources {
        "kata.cri.resources", "kata cri resources", Kata, Detail,
        "CPUs and memory of a running pod can be changed and are reported through CRI under Kata itself, and the pod \
         is in the requested control group"
    }
    KataCriSecurity {
        "kata.cri.security", "kata cri security", Kata, Detail,
        "the restrictions that CRI sets for a pod hold under Kata itself: capabilities, seccomp, devices, privileges"
    }
}

impl Capability {
    /// Returns the capabilities that every pod needs from a VMM: the guest boots, Kata hotplugs the resources of the
    /// pod, and it parses the replies to all its QMP commands.
    ///
    /// Hotplug of network interfaces is not among them: they exist when the guest starts, unless the engine sets up the
    /// network in a hook, as Docker does, or the guest was cloned (`startVM` in
    /// src/runtime/virtcontainers/sandbox.go@4.1.0, `prepare_for_start_sandbox` in
    /// src/runtime-rs/crates/runtimes/virt_container/src/sandbox.rs@4.1.0).
    pub fn of_every_vmm() -> impl Iterator<Item = Capability> {
        let required = Capability::ALL.iter().copied().filter(|c| c.area() == Area::Vmm && c.tier() == Tier::Required);
        required.filter(|c| *c != Capability::VmmHotplugNet)
    }

    /// Whether Kata does not run without the capability, even if an environment cannot show it.
    pub fn is_needed(self) -> bool {
        matches!(self.tier(), Tier::Required | Tier::IfProvided)
    }

    /// Whether the overview has a column for the capability although Kata runs without it.
    pub fn is_shown_beside(self) -> bool {
        self.tier() == Tier::Shown
    }

    /// Whether the capability is only looked up in a list: its verdict is `offered` at best.
    pub fn is_only_listed(self) -> bool {
        self.tier() == Tier::Listed
    }

    /// Returns the share that the capability is about.
    pub fn share(self) -> Option<Share> {
        match self.area() {
            Area::Fs(share) => Some(share),
            Area::Packages | Area::Vmm | Area::Kernel | Area::Host | Area::Containers | Area::Kata => None,
        }
    }

    /// Returns the capability of a VMM besides QEMU, or `None` for any other component.
    pub fn of_other_vmm(vmm: Component) -> Option<Capability> {
        match vmm {
            Component::CloudHypervisor => Some(Capability::VmmCloudHypervisor),
            Component::Firecracker => Some(Capability::VmmFirecracker),
            Component::Qemu
            | Component::Virtiofsd
            | Component::Kernel
            | Component::Containerd
            | Component::Packages
            | Component::Record
            | Component::Kata => None,
        }
    }

    /// Returns the VMM besides QEMU that the capability is about.
    pub fn other_vmm(self) -> Option<Component> {
        Component::ALL.iter().copied().find(|vmm| Capability::of_other_vmm(*vmm) == Some(self))
    }

    /// Returns the capability that a share works at all.
    pub fn of_share(share: Share) -> Capability {
        match share {
            Share::VirtioFs => Capability::FsVirtioFs,
            Share::Virtio9p => Capability::FsVirtio9p,
            Share::VirtioBlk => Capability::FsVirtioBlk,
        }
    }
}

/// Error for a name that no capability has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability `{name}`: {}", .nearest.map_or_else(all_names, |n| format!("did you mean `{n}`?")))]
pub struct UnknownCapability {
    /// The rejected name.
    pub name: String,
    /// The most similar capability.
    pub nearest: Option<Capability>,
}

fn all_names() -> String {
    let names: Vec<&str> = Capability::ALL.iter().map(|c| c.name()).collect();
    format!("known are {}", names.join(", "))
}

impl std::str::FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let same = Capability::ALL.iter().copied().find(|c| c.name() == name);
        same.ok_or_else(|| {
            let nearest = crate::suggest::nearest(name, Capability::ALL.iter().map(|c| c.name()));
            let nearest = nearest.and_then(|n| Capability::ALL.iter().copied().find(|c| c.name() == n));
            UnknownCapability { name: name.to_owned(), nearest }
        })
    }
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::other_vmm::OtherVmm;

    #[test]
    fn names_are_unique_and_parse_back() {
        for (index, capability) in Capability::ALL.iter().enumerate() {
            assert_eq!(capability.name().parse(), Ok(*capability));
            assert!(!Capability::ALL[..index].iter().any(|c| c.name() == capability.name()), "{capability}");
        }
        assert_eq!(Capability::FsVirtio9pPosix.share(), Some(Share::Virtio9p));
        assert_eq!(Capability::VmmBoot.share(), None);
    }

    /// Names begin with their area for the reader's sake; no code depends on the prefix.
    #[test]
    fn a_name_begins_with_its_area() {
        for capability in Capability::ALL {
            let area = match capability.area() {
                Area::Packages => "packages".to_owned(),
                Area::Vmm => "vmm".to_owned(),
                Area::Kernel => "kernel".to_owned(),
                Area::Host => "host".to_owned(),
                Area::Fs(share) => format!("fs.{share}"),
                Area::Containers => "containers".to_owned(),
                Area::Kata => "kata".to_owned(),
            };
            let rest = capability.name().strip_prefix(&area);
            assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')), "{capability}: {area}");
        }
        for share in Share::ALL {
            assert_eq!(Capability::of_share(*share).name(), format!("fs.{share}"));
        }
    }

    /// Each tried VMM besides QEMU has a capability of its own, because a VMM that the caller brings makes verdicts
    /// partial.
    #[test]
    fn every_tried_vmm_besides_qemu_has_its_own_capability() {
        let tried = OtherVmm::all().iter().filter(|vmm| vmm.tried).map(|vmm| vmm.vmm.component().unwrap());
        for vmm in tried {
            let capability = Capability::of_other_vmm(vmm).unwrap();
            assert_eq!((capability.area(), capability.other_vmm()), (Area::Vmm, Some(vmm)));
        }
        for component in Component::ALL {
            assert_eq!(
                Capability::of_other_vmm(*component).is_some(),
                OtherVmm::of(*component).is_some(),
                "{component}"
            );
        }
        assert_eq!(Capability::VmmBoot.other_vmm(), None);
    }

    #[test]
    fn of_every_vmm_lists_what_a_pod_needs_of_any_vmm() {
        let names: Vec<&str> = Capability::of_every_vmm().map(Capability::name).collect();
        assert_eq!(names, ["vmm.boot", "vmm.qmp", "vmm.hotplug.memory", "vmm.hotplug.blk"]);
    }

    #[test]
    fn a_mistyped_name_error_suggests_the_nearest() {
        let error = |name: &str| name.parse::<Capability>().unwrap_err().to_string();
        assert_eq!(error("fs.virtio-fz"), "unknown capability `fs.virtio-fz`: did you mean `fs.virtio-fs`?");
        assert!(error("zzz").contains("known are packages.install, vmm.boot"), "{}", error("zzz"));
        assert!(
            serde_json::from_str::<Capability>("\"fs.virtio-fz\"").unwrap_err().to_string().contains("did you mean")
        );
    }
}
