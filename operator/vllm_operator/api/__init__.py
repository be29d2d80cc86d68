"""The VLLMModel resource as Python types, and the CRD generated from them."""
