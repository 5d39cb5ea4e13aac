package osinfo

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// strictly decodes a document; a key that the type does not have is an error here, and passed over by callers.
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
	equal(t, "release", detect.System.Releases[0].Name, "alpine:3.20")
	equal(t, "released", detect.System.Releases[0].Released, "2024-05-22")
	equal(t, "fit", detect.System.Fit, "prefix")
	equal(t, "arch", detect.System.Arch, "")
	list := golden[List](t, "list")
	equal(t, "codename", list.Releases[1].Release.Codename, "trixie")
	equal(t, "arches", len(list.Releases[1].Arches), 4)
	shown := golden[Show](t, "show").Releases[0]
	equal(t, "vmm", shown.VMMs[0].Path, "/usr/bin/qemu-system-x86_64")
	equal(t, "kernel", shown.Kernel.Image, "/boot/vmlinuz-*")
	equal(t, "origin", shown.Facts[0].Origin.Line, 9)
	equal(t, "an unknown value", shown.Facts[1].Value == nil, true)
	equal(t, "shaped", shown.Verified[0].Shaped, true)
	equal(t, "verdict", shown.Verified[0].Capabilities[1].Verdict, "unsupported")
}

func TestCheckAndVerified(t *testing.T) {
	check := golden[Check](t, "check")
	equal(t, "installed", check.Installed, false)
	equal(t, "package", check.Components[0].Package.Version, "9.0.1-r0")
	equal(t, "said", check.Components[0].Said.Nothing, "it ended with 1")
	equal(t, "presence", check.Components[1].Presence, "not-installed")
	equal(t, "installed version", check.Verified[0].Versions[0].Installed, "9.0.1-r0")
	equal(t, "configured", check.Configured[0].Message, "it is gone")
	verified := golden[Verified](t, "verified")
	entry := verified.Profiles[0].Entries[0]
	equal(t, "supported", entry.Supported, true)
	equal(t, "matches", entry.Matches, false)
	equal(t, "capabilities", len(entry.Capabilities), 7)
}

func TestWays(t *testing.T) {
	way := golden[Way](t, "fallback")
	equal(t, "outcome", way.Outcome, "install")
	equal(t, "wanting", way.Wanting.Packages[0], "virtiofsd")
	configure := golden[Configure](t, "configure")
	equal(t, "outcome", configure.Outcome, "configure")
	equal(t, "daemon", configure.Configuration.Share.Daemon, "/usr/libexec/virtiofsd")
	equal(t, "fate", configure.Theirs[0].Fate, "overridden")
	equal(t, "found", configure.NotEffective[0].Found, nil)
	equal(t, "line", configure.Problems[0].Line, 3)
	equal(t, "kept", golden[Unconfigure](t, "unconfigure").Kept[0].Path, "/etc/containerd/config.toml")
}

func TestErrors(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("testdata", "error.json"))
	if err != nil {
		t.Fatal(err)
	}
	failed := exitError(ExitUnknown, document, "error: no record is of Mini (ID=mini)\n")
	equal(t, "kind", failed.Kind, "unknown-system")
	equal(t, "hint", failed.Hint, "name a release with --target")
	equal(t, "text", failed.Error(), "kata-osinfo: no record is of Mini (ID=mini)")
	equal(t, "code", errors.Is(failed, ExitUnknown), true)
	equal(t, "another code", errors.Is(failed, ExitNo), false)
	equal(t, "no document", exitError(101, nil, "panicked\n").Error(), "kata-osinfo: panicked")
	equal(t, "nothing", exitError(ExitNo, []byte("{}"), "").Error(), "kata-osinfo: the answer is no")
	if err := decode([]byte(`{"version": 2}`), new(List)); err == nil {
		t.Error("a document of another version was read")
	}
}
