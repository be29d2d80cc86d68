"""What tests of the running operator share: an API client, a kubelet's part, the operator as a process."""
