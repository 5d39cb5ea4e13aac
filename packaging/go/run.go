// Package osinfo asks kata-osinfo: which Linux distro a system is, what that distro packages for Kata Containers, what of
// it is installed, and whether it was seen to work.
//
// Each call of [Client] runs the program once and reads the one JSON document that it prints.
// The arguments are the command's own (`kata-osinfo check --help`), without `--format`, `--root` and `--records`.
//
// Whatever is not a plain yes is an [*ExitError]. The answer comes with it where there is one:
//
//	check, err := client.Check(ctx, "--all")
//	switch {
//	case errors.Is(err, osinfo.ExitNo): // check says what is missing
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

// Program is what is run where a [Client] names no other.
const Program = "kata-osinfo"

// Version is that of the documents that this package reads. Keys may be added in one version, and are passed over here.
const Version = 1

// Client runs kata-osinfo. Its zero value runs the one in PATH, on the running system.
type Client struct {
	// Path is the program's.
	Path string
	// Root is the folder that is taken as the system's "/".
	Root string
	// Records are folders of records that lie over all others.
	Records []string
}

// Run runs a call and returns the document that it printed, which may also come with an [*ExitError].
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

// Detect tells which record and release the system is.
func (c *Client) Detect(ctx context.Context) (*Detect, error) {
	return ask[Detect](ctx, c, "detect", nil)
}

// List tells the releases that are known.
func (c *Client) List(ctx context.Context) (*List, error) {
	return ask[List](ctx, c, "list", nil)
}

// Show tells what releases offer: `debian:13`, `debian`, `all`; without one the system's.
func (c *Client) Show(ctx context.Context, arguments ...string) (*Show, error) {
	return ask[Show](ctx, c, "show", arguments)
}

// Check tells what is installed; with `--all` also whether it is what was verified, and what became of what was
// configured.
func (c *Client) Check(ctx context.Context, arguments ...string) (*Check, error) {
	return ask[Check](ctx, c, "check", arguments)
}

// Verified tells whether what is installed was seen to work.
func (c *Client) Verified(ctx context.Context, arguments ...string) (*Verified, error) {
	return ask[Verified](ctx, c, "verified", arguments)
}

// Fallback tells what to do for the Kata of a profile, which `--profile` must name.
func (c *Client) Fallback(ctx context.Context, arguments ...string) (*Way, error) {
	return ask[Way](ctx, c, "fallback", arguments)
}

// Configure makes the Kata of a profile, which `--profile` must name, use what the distro has; with `--dry-run` it only
// tells what would change.
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
