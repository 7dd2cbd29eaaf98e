//go:build tools

// Package tools pins the Cerbos that is compared.
package tools

import _ "github.com/cerbos/cerbos/cmd/cerbos"
