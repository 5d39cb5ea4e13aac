package osinfo

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ExitCode is how kata-osinfo ended where all is not well; [errors.Is] finds it in an [*ExitError].
type ExitCode int

const (
	// ExitNo is a no: something is not installed, a combination is not verified, or its versions have changed.
	ExitNo ExitCode = 1
	// ExitBadInput is bad usage, or input that cannot be used.
	ExitBadInput ExitCode = 2
	// ExitUnknown says that the system, its release or a fact is not known, or only assumed; that this user may not read or
	// write something; or that all is done and could not be printed.
	ExitUnknown ExitCode = 3
	// ExitFailed says that the package manager failed, or is not there.
	ExitFailed ExitCode = 4
	// ExitLocked says that another package manager held its database for too long.
	ExitLocked ExitCode = 5
	// ExitNotExercised says that the package manager is recognised, but not run by the program.
	ExitNotExercised ExitCode = 6
	// ExitRefused says that it is known not to work, and was not forced.
	ExitRefused ExitCode = 10
	// ExitMissing says that something must be installed, or described in /etc/kata-osinfo, first.
	ExitMissing ExitCode = 11
	// ExitNothingWorks says that nothing that is there works, and something must be built.
	ExitNothingWorks ExitCode = 12
	// ExitNotEffective says that not everything that was written, or taken back, took effect, or that a text of others is
	// out of its place: this call has put it aside, or has not put it back.
	ExitNotEffective ExitCode = 13
)

// Error is the code's meaning.
func (c ExitCode) Error() string {
	switch c {
	case ExitNo:
		return "the answer is no"
	case ExitBadInput:
		return "bad usage, or input that cannot be used"
	case ExitUnknown:
		return "the system, its release or a fact is not known"
	case ExitFailed:
		return "the package manager failed, or is not there"
	case ExitLocked:
		return "another package manager held its database for too long"
	case ExitNotExercised:
		return "the package manager is not run by the program"
	case ExitRefused:
		return "it is known not to work"
	case ExitMissing:
		return "something must be installed or described first"
	case ExitNothingWorks:
		return "nothing that is there works"
	case ExitNotEffective:
		return "not everything took effect"
	}
	return fmt.Sprintf("exit code %d", int(c))
}

// ExitError is an end that is not well.
type ExitError struct {
	// Code is the exit code, which the error unwraps to.
	Code ExitCode
	// Kind of a call that came to no answer: `unknown-system`; empty where there is one.
	Kind string
	// Message is what is wrong with such a call.
	Message string
	// Hint is what to do about it, where that is known.
	Hint string
	// Problems of an answer, each as people are told it.
	Problems []Problem
	// Stderr is what the program told people besides.
	Stderr string
}

// Error is what is wrong.
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

// Unwrap is the code.
func (e *ExitError) Unwrap() error {
	return e.Code
}

// Problem is what stands behind an exit code that is not 0, or a text of others that lies aside.
type Problem struct {
	// Message for people.
	Message string `json:"message"`
	// File that it is about, where it is about one.
	File string `json:"file"`
	// Line in it, from 1; 0 where it is about the whole file.
	Line int `json:"line"`
	// Hint is what to do about it, where that is known.
	Hint string `json:"hint"`
}

// Document is what all answers have.
type Document struct {
	// Version of the form.
	Version int `json:"version"`
	// Problems that stand behind an exit code that is not 0; with 0, texts of others that lie aside since an earlier call
	// was killed.
	Problems []Problem `json:"problems"`
}

// failure is a call that came to no answer.
type failure struct {
	Document
	// Error says why.
	Error struct {
		// Kind of it, for programs.
		Kind string `json:"kind"`
		// Message for people.
		Message string `json:"message"`
		// Hint is what to do.
		Hint string `json:"hint"`
	} `json:"error"`
}

func exitError(code ExitCode, document []byte, stderr string) *ExitError {
	failed := &ExitError{Code: code, Stderr: strings.TrimSpace(stderr)}
	var told failure
	if err := json.Unmarshal(document, &told); err != nil {
		// Then standard error says it.
		failed.Message = failed.Stderr
		return failed
	}
	failed.Kind, failed.Message, failed.Hint = told.Error.Kind, told.Error.Message, told.Error.Hint
	failed.Problems = told.Problems
	return failed
}
