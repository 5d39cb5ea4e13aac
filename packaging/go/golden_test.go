package osinfo

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// strictly decodes a document. A key that the type does not have is an error here; the package itself ignores it.
func strictly[T any](t *testing.T, document []byte) T {
	t.Helper()
	var answer T
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&answer); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	return answer
}

// golden reads a document of testdata, which a test of kata-osinfo compares with the program's output.
func golden[T any](t *testing.T, name string) T {
	t.Helper()
	document, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return strictly[T](t, document)
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestDetectListShow(t *testing.T) {
	detect := golden[Detect](t, "detect")
	equal(t, "version", detect.Version, Version)
	equal(t, "release", detect.System.Releases[0].Name, "mini:1")
	equal(t, "released", detect.System.Releases[0].Released, "2024-05-22")
	equal(t, "fit", detect.System.Fit, "prefix")
	equal(t, "arch", detect.System.Arch, "")
	list := golden[List](t, "list")
	equal(t, "codename", list.Releases[0].Release.Codename, "trixie")
	equal(t, "arches", len(list.Releases[0].Arches), 4)
	shown := golden[Show](t, "show").Releases[0]
	equal(t, "vmm", shown.VMMs[0].Path, "/usr/bin/qemu-system-x86_64")
	equal(t, "kernel", shown.Kernel.Image, "/boot/vmlinuz-*")
	equal(t, "origin", shown.Facts[0].Origin.Line, 11)
	equal(t, "an unknown value", shown.Facts[1].Value == nil, true)
	equal(t, "shaped", shown.Verified[0].Shaped, true)
	equal(t, "verdict", shown.Verified[0].Capabilities[1].Verdict, "unsupported")
	cause := Cause{Component: "virtiofsd", Test: "fs::x", Message: "it ended at once"}
	equal(t, "cause", shown.Verified[0].Capabilities[1].Causes[0], cause)
}

func TestCheckAndVerified(t *testing.T) {
	check := golden[Check](t, "check")
	equal(t, "installed", check.Installed, false)
	equal(t, "package", check.Components[0].Package.Version, "9.0.1-r0")
	kernel := check.Components[len(check.Components)-1]
	equal(t, "presence", kernel.Presence, "not-installed")
	equal(t, "installed version", check.Verified[0].Versions[0].Installed, "9.0.1-r0")
	equal(t, "configured", check.Configured[0].Line, 14)
	verified := golden[Verified](t, "verified")
	entry := verified.Profiles[0].Entries[0]
	equal(t, "supported", entry.Supported, false)
	equal(t, "matches", entry.Matches, false)
	equal(t, "capabilities", len(entry.Capabilities), 12)
	equal(t, "no verdict", entry.Capabilities[0].Verdict, "")
}

func TestSaid(t *testing.T) {
	component := strictly[Component](t, []byte(`{"said": {"nothing": "it ended with 1"}}`))
	equal(t, "said", component.Said.Nothing, "it ended with 1")
}

func TestInstalling(t *testing.T) {
	installer := golden[Installer](t, "installer")
	equal(t, "installer", installer.Installer, "apk")
	equal(t, "no program", installer.Program, "")
	equal(t, "place", installer.Place, "nowhere")
	equal(t, "problems", len(installer.Problems), 1)
	packages := golden[Packages](t, "packages")
	equal(t, "packages", strings.Join(packages.Packages, " "), "linux-virt qemu-system-x86_64 virtiofsd")
	equal(t, "nothing is not packaged", len(packages.NotPackaged), 0)
	dry := golden[Install](t, "dry-run")
	equal(t, "command", strings.Join(dry.Plan.Commands[1], " "), "apk add virtiofsd")
	equal(t, "already", dry.Plan.Already[0].Version, "9.0.1-r0")
	equal(t, "no simulation", dry.Plan.Changes == nil, true)
	equal(t, "nothing was installed", dry.Installed == nil, true)
	install := golden[Install](t, "install")
	equal(t, "nothing to do", len(install.Plan.Commands), 0)
	equal(t, "installed", install.Installed[0].Package, "qemu-system-x86_64")
	change := strictly[Change](t, []byte(`{"action": "upgrade", "package": "a", "version": "1-1"}`))
	equal(t, "change", change, Change{Action: "upgrade", Package: "a", Version: "1-1"})
}

func TestRequirements(t *testing.T) {
	requirements := golden[Requirements](t, "requirements")
	equal(t, "component", requirements.Component, "kernel")
	equal(t, "kind", requirements.Requirements[0].Kind, "module")
	use := requirements.KernelOptions.Uses[0]
	equal(t, "weight", use.Weight, "required")
	equal(t, "not compared", use.Missing == nil, true)
	equal(t, "state", use.Options[0].State, "")
}

func TestWays(t *testing.T) {
	way := golden[Way](t, "fallback")
	equal(t, "outcome", way.Outcome, "install")
	equal(t, "missing", way.Missing.Packages[0], "virtiofsd")
	build := golden[Way](t, "build")
	equal(t, "outcome", build.Outcome, "build")
	equal(t, "choice", build.Choices[0].What, "katas-virtiofsd")
	equal(t, "no record", build.Choices[1].Record, "")
	equal(t, "built", build.Instructions[0].Component, "virtiofsd")
	equal(t, "not forceable", build.PassedOver[0].Forceable == nil, true)
	configure := golden[Configure](t, "configure")
	equal(t, "outcome", configure.Outcome, "configure")
	equal(t, "daemon", configure.Configuration.Share.Daemon, "/usr/libexec/virtiofsd")
	equal(t, "fate", configure.Theirs[0].Fate, "overridden")
	equal(t, "found", configure.NotEffective[0].Found, any("none"))
	equal(t, "line", configure.NotEffective[0].Line, 2)
	equal(t, "problems", len(configure.Problems), 1)
	equal(t, "kept", len(golden[Unconfigure](t, "unconfigure").Kept), 1)
}

func TestErrors(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("testdata", "error.json"))
	if err != nil {
		t.Fatal(err)
	}
	failed := exitError(ExitUnknown, document, "error: no record is of Other (ID=other)\n")
	equal(t, "kind", failed.Kind, "unknown-system")
	equal(t, "hint", strings.HasSuffix(failed.Hint, "or name a release with --target"), true)
	equal(t, "text", failed.Error(), "kata-osinfo: there is no record of Other (ID=other)")
	equal(t, "code", errors.Is(failed, ExitUnknown), true)
	equal(t, "another code", errors.Is(failed, ExitNo), false)
	equal(t, "no document", exitError(101, nil, "panicked\n").Error(), "kata-osinfo: panicked")
	equal(t, "nothing", exitError(ExitNo, []byte("{}"), "").Error(), "kata-osinfo: the answer is no")
	if err := decode([]byte(`{"version": 2}`), new(List)); err == nil {
		t.Error("a document of another version was read")
	}
}
