package osinfo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const record = `distro: mini
package-manager: dnf
arch: x86_64
confidence: packaging
vmm: {name: qemu, packages: qemu-kvm, path: /usr/libexec/qemu-kvm}
fs:
  - {name: virtio-fs, packages: virtiofsd, path: /usr/libexec/virtiofsd}
kernel: {packages: kernel, image: /boot/vmlinuz-*}
releases:
  - version: 1
    codename: first
`

const verdicts = `distro: mini
verified:
  - release: "1"
    arch: x86_64
    profile: rs-4.0
    environment: vm
    basis: emulated
    tested: 2026-01-01
    harness: "0.1.0"
    test-set: d3dcb968b1d5
    versions: {qemu-kvm: "1:1.0-1"}
    capabilities: {vmm.boot: supported}
`

const kata = `# Shipped configuration

[hypervisor.qemu]
path = "/opt/kata/bin/qemu"   # the VMM
kernel = "/opt/kata/vmlinux"
image = "/opt/kata/image"
#initrd = "unset"
machine_type = "q35"

# Shared file system
shared_fs = "virtio-9p"
virtio_fs_extra_args = [
  "--a", # first
]

[agent.kata]
kernel_modules=[]

[runtime]
internetworking_model="tcfilter"
`

// system makes a small system, and a client that runs the program on it.
func system(t *testing.T) *Client {
	t.Helper()
	program := os.Getenv("KATA_OSINFO")
	if program == "" {
		t.Skip("KATA_OSINFO names no program")
	}
	root := t.TempDir()
	base := "opt/kata/share/defaults/kata-containers"
	for _, file := range [][2]string{
		{"etc/os-release", "ID=mini\nVERSION_ID=1\nPRETTY_NAME=\"Mini\"\n"},
		{"etc/kata-osinfo/mini.yaml", record},
		{"etc/kata-osinfo/verified/mini.yaml", verdicts},
		{"usr/libexec/qemu-kvm", "\x7fELF libc.so.6 libaio.so.1"},
		{"usr/libexec/virtiofsd", "\x7fELF --shared-dir"},
		{"boot/vmlinuz-6.1", ""},
		{"opt/kata/vmlinux", ""},
		{"opt/kata/image", "image"},
		{"opt/kata/bin/containerd-shim-kata-v2", ""},
		{base + "/configuration-qemu.toml", kata},
	} {
		path := filepath.Join(root, file[0])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file[1]), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("configuration-qemu.toml", filepath.Join(root, base, "configuration.toml")); err != nil {
		t.Fatal(err)
	}
	return &Client{Path: program, Root: root}
}

// asked returns the answer of a call, decoded strictly: a key that the types do not have fails the test.
func asked[T any](t *testing.T, client *Client, call string, arguments ...string) (T, error) {
	t.Helper()
	document, err := client.Run(context.Background(), call, arguments...)
	var exit *ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strictly[T](t, document), err
}

func TestProgramSaysWhatTheTypesHave(t *testing.T) {
	client := system(t)
	machine := []string{"--profile", "go-3.29", "--arch", "x86_64"}
	detect, err := asked[Detect](t, client, "detect")
	equal(t, "detect", err, nil)
	equal(t, "release", detect.System.Releases[0].Name, "mini:1")
	list, err := asked[List](t, client, "list")
	equal(t, "list", err, nil)
	equal(t, "debian is known", len(list.Releases) > 1, true)
	show, err := asked[Show](t, client, "show", "--origin", "--arch", "x86_64", "mini:1")
	equal(t, "show", err, nil)
	equal(t, "verdict", show.Releases[0].Verified[0].Capabilities[0].Verdict, "supported")
	check, err := asked[Check](t, client, "check", "--all", "--arch", "x86_64")
	equal(t, "check", errors.Is(err, ExitNo), true)
	equal(t, "profile", check.Verified[0].Profile, "rs-4.0")
	verified, err := asked[Verified](t, client, "verified", "--profile", "rs-4.0", "--arch", "x86_64")
	equal(t, "verified", errors.Is(err, ExitNo), true)
	equal(t, "basis", verified.Profiles[0].Entries[0].Basis, "emulated")
	way, err := asked[Way](t, client, "fallback", machine...)
	equal(t, "fallback", err, nil)
	equal(t, "share", way.Configuration.Share.Name, "virtio-fs")
	configure, err := asked[Configure](t, client, "configure", machine...)
	equal(t, "configure", err, nil)
	equal(t, "written", configure.Written, true)
	unconfigure, err := asked[Unconfigure](t, client, "unconfigure")
	equal(t, "unconfigure", err, nil)
	equal(t, "files", len(unconfigure.Files) > 0, true)
	if err := os.Remove(filepath.Join(client.Root, "usr/libexec/virtiofsd")); err != nil {
		t.Fatal(err)
	}
	way, err = asked[Way](t, client, "fallback", machine...)
	equal(t, "without a daemon", way.Outcome == "configure", err == nil)
}

func TestProgramSaysWhatTheTypesOfInstallingHave(t *testing.T) {
	client := system(t)
	// Nothing is changed, because no machine that runs this test has apk.
	for _, file := range [][2]string{
		{"etc/kata-osinfo/mini.yaml", strings.Replace(record, "dnf", "apk", 1)},
		{"lib/apk/db/installed", "P:qemu-kvm\nV:9.0.1-r0\nA:x86_64\nF:usr/libexec\nR:qemu-kvm\n\n"},
		{"config", "CONFIG_X86_64=y\nCONFIG_SMP=y\n"},
	} {
		path := filepath.Join(client.Root, file[0])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file[1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	installer, err := asked[Installer](t, client, "installer", "--arch", "x86_64")
	equal(t, "installer", errors.Is(err, ExitNo), true)
	equal(t, "place", installer.Place, "nowhere")
	packages, err := asked[Packages](t, client, "packages", "--arch", "x86_64")
	equal(t, "packages", err, nil)
	equal(t, "names", strings.Join(packages.Packages, " "), "qemu-kvm virtiofsd")
	dry, err := asked[Install](t, client, "install", "--dry-run", "--arch", "x86_64")
	equal(t, "dry run", errors.Is(err, ExitFailed), true)
	equal(t, "commands", strings.Join(dry.Plan.Shell, "; "), "apk update; apk add virtiofsd")
	install, err := asked[Install](t, client, "install", "vmm", "--arch", "x86_64")
	equal(t, "install", err, nil)
	equal(t, "version", install.Installed[0].Version, "9.0.1-r0")
	install, err = asked[Install](t, client, "install", "--arch", "x86_64")
	equal(t, "without an installer", errors.Is(err, ExitFailed), true)
	equal(t, "its plan", len(install.Plan.Commands), 2)
	qemu, err := asked[Requirements](t, client, "requirements", "--profile", "rs-4.0", "--component", "qemu")
	equal(t, "requirements", err, nil)
	equal(t, "of a VMM", qemu.KernelOptions == nil, true)
	config := filepath.Join(client.Root, "config")
	kernel := []string{"--profile", "rs-4.0", "--component", "kernel", "--check", config}
	lacking, err := asked[Requirements](t, client, "requirements", kernel...)
	equal(t, "a kernel", errors.Is(err, ExitNo), true)
	equal(t, "it lacks something", *lacking.KernelOptions.Uses[0].Missing && len(lacking.Problems) > 0, true)
	equal(t, "it has something", lacking.KernelOptions.Uses[0].Options[0].State, "met")
}

func TestInstallingCalls(t *testing.T) {
	client, ctx := system(t), context.Background()
	packages, err := client.Packages(ctx, "vmm", "--arch", "x86_64")
	if err != nil || strings.Join(packages.Packages, " ") != "qemu-kvm" {
		t.Errorf("%v, %v", packages, err)
	}
	requirements, err := client.Requirements(ctx, "--profile", "rs-4.0", "--component", "virtiofsd")
	if err != nil || len(requirements.Requirements) == 0 {
		t.Errorf("%v, %v", requirements, err)
	}
	var exit *ExitError
	install, err := client.Install(ctx, "nothing", "--dry-run", "--arch", "x86_64")
	if install != nil || !errors.As(err, &exit) || exit.Kind == "" {
		t.Errorf("%v, %v", install, err)
	}
}

// TestDeadline needs no kata-osinfo: a program that hangs is killed.
func TestDeadline(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kata-osinfo")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	answer, err := (&Client{Path: program}).Install(ctx, "--dry-run")
	if answer != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", answer, err)
	}
}

func TestCalls(t *testing.T) {
	client, ctx := system(t), context.Background()
	check, err := client.Check(ctx, "vmm", "--arch", "x86_64")
	if err != nil || !check.Installed {
		t.Errorf("%v, %v", check, err)
	}
	check, err = client.Check(ctx, "--all", "--arch", "x86_64")
	if check == nil || !errors.Is(err, ExitNo) {
		t.Errorf("an answer comes with its code: %v, %v", check, err)
	}
	show, err := client.Show(ctx, "nothing:1")
	if show != nil || !errors.Is(err, ExitBadInput) || !strings.Contains(err.Error(), "unknown distro `nothing`") {
		t.Errorf("%v, %v", show, err)
	}
	_, err = client.Show(ctx, "--nonsense")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Kind != "usage" {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := client.List(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := (&Client{Path: "/nonexistent/kata-osinfo"}).List(ctx); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
