// Package osinfo runs kata-osinfo to find out which Linux distro a system is, what the distro packages for Kata
// Containers, which of these packages are installed, and whether they were proved to work.
//
// Each call of [Client] runs the program once and reads the JSON document that it prints.
// The arguments are the command's own (`kata-osinfo check --help`), without `--format`, `--root` and `--records`.
//
// Every nonzero exit is an [*ExitError]. The answer is returned with it, if there is one:
//
//	check, err := client.Check(ctx, "--all")
//	switch {
//	case errors.Is(err, osinfo.ExitNo): // check has what is missing
//	case err != nil: // there is no answer
//	}
package osinfo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
)

// Program is the program that is run if [Client.Path] is empty.
const Program = "kata-osinfo"

// Version of the documents that this package reads. A version may gain keys, which this package ignores.
const Version = 1

// Client runs kata-osinfo. Its zero value runs the program in PATH, on the running system.
type Client struct {
	// Path of the program.
	Path string
	// Root is the directory that is used as the system's "/".
	Root string
	// Records are directories of records, which are laid over all others.
	Records []string
}

// Run runs a call and returns the document that it printed, possibly together with an [*ExitError].
func (c *Client) Run(ctx context.Context, call string, arguments ...string) ([]byte, error) {
	path := c.Path
	if path == "" {
		path = Program
	}
	var all []string
	if c.Root != "" {
		all = append(all, "--root", c.Root)
	}
	for _, folder := range c.Records {
		all = append(all, "--records", folder)
	}
	all = append(all, call, "--format", "json")
	all = append(all, arguments...)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, all...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var exited *exec.ExitError
	if !errors.As(err, &exited) || exited.ExitCode() < 0 {
		return nil, fmt.Errorf("running %s: %w", path, err)
	}
	return stdout.Bytes(), exitError(ExitCode(exited.ExitCode()), stdout.Bytes(), stderr.String())
}

// Detect returns the record and release that the system matches.
func (c *Client) Detect(ctx context.Context) (*Detect, error) {
	return ask[Detect](ctx, c, "detect", nil)
}

// List returns the releases that have a record.
func (c *Client) List(ctx context.Context) (*List, error) {
	return ask[List](ctx, c, "list", nil)
}

// Show returns the facts about releases: `debian:13`, `debian`, `all`; without an argument, about the system's release.
func (c *Client) Show(ctx context.Context, arguments ...string) (*Show, error) {
	return ask[Show](ctx, c, "show", arguments)
}

// Check returns the installed components; with `--all`, it also compares them with the verified versions, and checks
// the configuration that `configure` wrote.
func (c *Client) Check(ctx context.Context, arguments ...string) (*Check, error) {
	return ask[Check](ctx, c, "check", arguments)
}

// Verified returns whether the installed versions were proved to work.
func (c *Client) Verified(ctx context.Context, arguments ...string) (*Verified, error) {
	return ask[Verified](ctx, c, "verified", arguments)
}

// Installer returns the system's package installer. [ExitNo] means that it is not there.
func (c *Client) Installer(ctx context.Context, arguments ...string) (*Installer, error) {
	return ask[Installer](ctx, c, "installer", arguments)
}

// Packages returns the packages to install, for the components that are named, or for the preferred VMM and filesystem.
func (c *Client) Packages(ctx context.Context, arguments ...string) (*Packages, error) {
	return ask[Packages](ctx, c, "packages", arguments)
}

// Install installs these packages with the system's own package manager, which needs root; with `--dry-run`, it only
// returns the plan. The package manager's output is not returned unless the call fails.
//
// The end of the context kills kata-osinfo. On the running system, the package manager then goes on to its end, and
// the next call waits for its lock; in another root ([Client.Root]), it is killed in the middle of its work. To limit an
// installation, pass `--lock-timeout` for the time that it may wait, and give the context more time than `--timeout`,
// after which a command of the package manager is killed: 1800 seconds by default.
func (c *Client) Install(ctx context.Context, arguments ...string) (*Install, error) {
	return ask[Install](ctx, c, "install", arguments)
}

// Requirements returns what the Kata of a profile demands of a distro's package; `--profile` and `--component` must name
// both. With `--check`, [ExitNo] means that a kernel's configuration lacks an option that Kata requires.
//
// It does not depend on the system.
func (c *Client) Requirements(ctx context.Context, arguments ...string) (*Requirements, error) {
	return ask[Requirements](ctx, c, "requirements", arguments)
}

// Fallback returns the next steps for the Kata of a profile, which `--profile` must name.
func (c *Client) Fallback(ctx context.Context, arguments ...string) (*Way, error) {
	return ask[Way](ctx, c, "fallback", arguments)
}

// Configure makes the Kata of a profile, which `--profile` must name, use the distro's components; with `--dry-run` it
// only reports what would change.
func (c *Client) Configure(ctx context.Context, arguments ...string) (*Configure, error) {
	return ask[Configure](ctx, c, "configure", arguments)
}

// Unconfigure takes back what [Client.Configure] wrote.
func (c *Client) Unconfigure(ctx context.Context, arguments ...string) (*Unconfigure, error) {
	return ask[Unconfigure](ctx, c, "unconfigure", arguments)
}

func ask[T any](ctx context.Context, c *Client, call string, arguments []string) (*T, error) {
	document, failed := c.Run(ctx, call, arguments...)
	var exit *ExitError
	if failed != nil && (!errors.As(failed, &exit) || exit.Kind != "" || len(document) == 0) {
		return nil, failed
	}
	answer := new(T)
	if err := decode(document, answer); err != nil {
		if failed != nil {
			return nil, fmt.Errorf("reading the answer to %s, which ended with %v: %w", call, failed, err)
		}
		return nil, fmt.Errorf("reading the answer to %s: %w", call, err)
	}
	return answer, failed
}

func decode(document []byte, answer any) error {
	var head Document
	if err := json.Unmarshal(document, &head); err != nil {
		return err
	}
	if head.Version != Version {
		return fmt.Errorf("expected a document of version %d, found %d", Version, head.Version)
	}
	return json.Unmarshal(document, answer)
}
