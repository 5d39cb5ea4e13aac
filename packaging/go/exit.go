package osinfo

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ExitCode is a nonzero exit code of kata-osinfo; [errors.Is] finds it in an [*ExitError].
type ExitCode int

const (
	// ExitNo means no: something is not installed, a combination is not verified, or its versions have changed.
	ExitNo ExitCode = 1
	// ExitBadInput means bad usage, or input that cannot be used.
	ExitBadInput ExitCode = 2
	// ExitUnknown means that the system, its release or a fact is unknown or only assumed; that this user may not read or
	// write something; or that everything was done but the answer could not be printed.
	ExitUnknown ExitCode = 3
	// ExitFailed means that the package manager failed, or is missing.
	ExitFailed ExitCode = 4
	// ExitLocked means that another package manager locked the package database for too long.
	ExitLocked ExitCode = 5
	// ExitNotExercised means that kata-osinfo recognises the package manager, but does not run it.
	ExitNotExercised ExitCode = 6
	// ExitRefused means that the request is known not to work, and was not forced.
	ExitRefused ExitCode = 10
	// ExitMissing means that something must first be installed, or described in /etc/kata-osinfo.
	ExitMissing ExitCode = 11
	// ExitNothingWorks means that no available component works, and something must be built.
	ExitNothingWorks ExitCode = 12
	// ExitNotEffective means that not everything that was written or taken back took effect, or that another tool's text
	// is out of its place: this call put it aside, or did not put it back.
	ExitNotEffective ExitCode = 13
)

// Error returns the meaning of the code.
func (c ExitCode) Error() string {
	switch c {
	case ExitNo:
		return "the answer is no"
	case ExitBadInput:
		return "bad usage, or input that cannot be used"
	case ExitUnknown:
		return "the system, its release or a fact is unknown"
	case ExitFailed:
		return "the package manager failed, or is missing"
	case ExitLocked:
		return "another package manager locked the package database for too long"
	case ExitNotExercised:
		return "kata-osinfo does not run this package manager"
	case ExitRefused:
		return "it is known not to work"
	case ExitMissing:
		return "something must be installed or described first"
	case ExitNothingWorks:
		return "no available component works"
	case ExitNotEffective:
		return "not everything took effect"
	}
	return fmt.Sprintf("exit code %d", int(c))
}

// ExitError is a nonzero exit of kata-osinfo.
type ExitError struct {
	// Code is the exit code; the error unwraps to it.
	Code ExitCode
	// Kind of the error, such as `unknown-system`; empty if the call has an answer.
	Kind string
	// Message of the error; empty if the call has an answer.
	Message string
	// Hint is advice, if any is known.
	Hint string
	// Problems of the answer, with messages for people.
	Problems []Problem
	// Stderr is the program's standard error.
	Stderr string
}

// Error returns the message, or the messages of all problems.
func (e *ExitError) Error() string {
	told := []string{e.Message}
	if e.Message == "" {
		told = nil
		for _, problem := range e.Problems {
			told = append(told, problem.Message)
		}
	}
	if len(told) == 0 {
		told = append(told, e.Code.Error())
	}
	return Program + ": " + strings.Join(told, "; ")
}

// Unwrap returns the exit code.
func (e *ExitError) Unwrap() error {
	return e.Code
}

// Problem is a reason for a nonzero exit code, or another tool's text that was put aside.
type Problem struct {
	// Message for people.
	Message string `json:"message"`
	// File that the problem is about, or empty.
	File string `json:"file"`
	// Line in the file, from 1; 0 if the problem is about the whole file.
	Line int `json:"line"`
	// Hint is advice, if any is known.
	Hint string `json:"hint"`
}

// Document has the keys that all answers have in common.
type Document struct {
	// Version of the document's format.
	Version int `json:"version"`
	// Problems are the reasons for a nonzero exit code. With 0, they are other tools' texts that have been aside since an
	// earlier call was killed.
	Problems []Problem `json:"problems"`
}

// failure is the document of a call without an answer.
type failure struct {
	Document
	// Error is the reason.
	Error struct {
		// Kind of the error, for programs.
		Kind string `json:"kind"`
		// Message for people.
		Message string `json:"message"`
		// Hint is advice.
		Hint string `json:"hint"`
	} `json:"error"`
}

func exitError(code ExitCode, document []byte, stderr string) *ExitError {
	failed := &ExitError{Code: code, Stderr: strings.TrimSpace(stderr)}
	var told failure
	if err := json.Unmarshal(document, &told); err != nil {
		// Without a document, standard error has the message.
		failed.Message = failed.Stderr
		return failed
	}
	failed.Kind, failed.Message, failed.Hint = told.Error.Kind, told.Error.Message, told.Error.Hint
	failed.Problems = told.Problems
	return failed
}
