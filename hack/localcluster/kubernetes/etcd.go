package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// newEtcdCommand runs one etcd member on loopback. Its data need not outlive the machine, so it may skip fsync.
func newEtcdCommand() *cobra.Command {
	var dataDir, clientURL, peerURL string
	command := &cobra.Command{
		Use:          "etcd",
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			return runEtcd(genericapiserver.SetupSignalContext(), dataDir, clientURL, peerURL)
		},
	}
	command.Flags().StringVar(&dataDir, "data-dir", "", "folder of the member's data")
	command.Flags().StringVar(&clientURL, "listen-client-url", "http://127.0.0.1:2379", "where clients connect")
	command.Flags().StringVar(&peerURL, "listen-peer-url", "http://127.0.0.1:2380", "where peers would connect")
	return command
}

func runEtcd(ctx context.Context, dataDir, clientURL, peerURL string) error {
	client, err := url.Parse(clientURL)
	if err != nil {
		return fmt.Errorf("parse the client URL %q: %w", clientURL, err)
	}
	peer, err := url.Parse(peerURL)
	if err != nil {
		return fmt.Errorf("parse the peer URL %q: %w", peerURL, err)
	}
	config := embed.NewConfig()
	config.Dir = dataDir
	config.LogLevel = "warn"
	config.UnsafeNoFsync = true
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start etcd in %s: %w", dataDir, err)
	}
	select {
	case <-ctx.Done():
		server.Close()
		return nil
	case err := <-server.Err():
		return fmt.Errorf("etcd in %s: %w", dataDir, err)
	}
}
