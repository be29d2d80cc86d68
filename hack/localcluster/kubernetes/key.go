package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// newKeyCommand writes the key that signs ServiceAccount tokens, so that no other program has to be installed for it.
func newKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:          "service-account-key FILE",
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return fmt.Errorf("make the key for ServiceAccount tokens: %w", err)
			}
			der, err := x509.MarshalECPrivateKey(key)
			if err != nil {
				return fmt.Errorf("encode the key for ServiceAccount tokens: %w", err)
			}
			block := &pem.Block{Type: "EC PRIVATE KEY", Bytes: der}
			return os.WriteFile(args[0], pem.EncodeToMemory(block), 0o600)
		},
	}
}
